//! The rest of what the agent asks of a board: a date, a reset.

use embassy_time::Instant;
use muster_agent_nostd::platform::{Clock, Reset};
use muster_protocol::UnixTime;

use crate::host::{Arguments, number};
use crate::semihosting::{self, File, Mode};

/// A clock that the host lends. Emulation only.
pub(crate) struct HostClock {
    face: Face,
}

enum Face {
    /// There is no clock.
    Missing,
    /// It was set when the power came on, and runs by the board's own timer.
    StartedAt(u64),
    /// It shows what stands in a file of the host's: one that jumps, or stands still.
    Shown(File),
}

impl HostClock {
    /// As the argument `clock` says: `none`, a number of seconds since 1970, `@` and the name of a file with ten digits of
    /// such a number, or nothing for the host's own date.
    pub(crate) fn start(arguments: &Arguments) -> Self {
        let face = match arguments.value(b"clock") {
            None => Face::StartedAt(u64::from(semihosting::time_unix_secs()) - Instant::now().as_secs()),
            Some([b'@', name @ ..]) => open(name).map_or(Face::Missing, Face::Shown),
            Some(_) => arguments.number(b"clock").map_or(Face::Missing, Face::StartedAt),
        };
        Self { face }
    }
}

impl Clock for HostClock {
    fn civil(&mut self) -> Option<UnixTime> {
        let date = match &mut self.face {
            Face::Missing => return None,
            Face::StartedAt(date) => *date + Instant::now().as_secs(),
            Face::Shown(file) => {
                let mut digits = [0; 10];
                file.seek(0).and_then(|()| file.read(&mut digits)).ok()?;
                number(&digits)?
            }
        };
        Some(UnixTime(date))
    }
}

fn open(name: &[u8]) -> Option<File> {
    let mut path = [0; PATH_LEN];
    // At least one zero stays behind the name.
    path.get_mut(..name.len()).filter(|_| name.len() < PATH_LEN)?.copy_from_slice(name);
    File::open(path.get(..=name.len())?, Mode::Read).ok()
}

/// The processor's own reset.
pub(crate) struct SystemReset;

impl Reset for SystemReset {
    fn reset(&mut self) -> ! {
        cortex_m::peripheral::SCB::sys_reset()
    }
}

const PATH_LEN: usize = 128;
