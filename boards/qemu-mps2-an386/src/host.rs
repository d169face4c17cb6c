//! What the host lends the emulated board: randomness, a wall clock, arguments. Emulation only: a real board has a true
//! random number generator, perhaps a battery-backed clock, and no arguments.

use muster_agent_nostd::agent::Options;
use muster_protocol::device::Settings;
use rand_core::{CryptoRng, RngCore};

use crate::semihosting::{self, File, Mode};
use crate::vectors::STATUS_FAULT;

/// The host's `/dev/urandom`.
pub(crate) struct HostEntropy {
    file: File,
}

impl HostEntropy {
    /// Opens it; without it the board does not start.
    pub(crate) fn open() -> Self {
        match File::open(b"/dev/urandom\0", Mode::Read) {
            Ok(file) => Self { file },
            Err(_) => semihosting::exit(STATUS_FAULT),
        }
    }
}

impl RngCore for HostEntropy {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if self.try_fill_bytes(bytes).is_err() {
            semihosting::exit(STATUS_FAULT);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        let failed = rand_core::Error::from(core::num::NonZeroU32::MIN);
        self.file.read(bytes).map_err(|_| failed)
    }
}

impl CryptoRng for HostEntropy {}

/// The emulator's arguments for the firmware: words `name=value`.
pub(crate) struct Arguments {
    line: [u8; LINE_LEN],
    length: usize,
}

impl Arguments {
    /// Asks the host.
    #[inline(never)]
    pub(crate) fn read() -> Self {
        let mut line = [0; LINE_LEN];
        let length = semihosting::command_line(&mut line).len();
        Self { line, length }
    }

    /// The value of the word with this name.
    pub(crate) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let mut words = self.line[..self.length].split(|byte| *byte == b' ');
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix(b"="))
    }

    /// The same, a number.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u64> {
        number(self.value(name)?)
    }
}

/// Reads decimal digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

impl Arguments {
    /// How the agent is set up: as a fleet has it, or as the arguments `telemetry` (seconds) and `pace` (`quick`) say.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        if let Some(secs) = self.number(b"telemetry") {
            options.telemetry_secs = secs as u32;
        }
        if self.value(b"pace") == Some(b"quick") {
            options.settings = Settings {
                backoff_millis_min: 100,
                backoff_millis_max: 1_000,
                operator_backoff_millis_min: 500,
                operator_backoff_millis_max: 1_000,
                answer_millis_max: 5_000,
                trial_pause_millis: 200,
                ..Settings::default()
            };
        }
        options
    }
}

const LINE_LEN: usize = 256;
