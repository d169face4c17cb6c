//! The rest of what the agent asks of a board: a date, a reset.

use embassy_time::Instant;
use muster_agent_nostd::platform::{Clock, Reset};
use muster_protocol::UnixTime;

use crate::host::Arguments;
use crate::semihosting;

/// A clock that the host set when the power came on, and that runs by the board's own timer. Emulation only.
pub(crate) struct HostClock {
    started_at: Option<u64>,
}

impl HostClock {
    /// As the argument `clock` says: `none`, a number of seconds since 1970, or nothing for the host's own date.
    pub(crate) fn start(arguments: &Arguments) -> Self {
        let started_at = match arguments.value(b"clock") {
            Some(b"none") => None,
            Some(_) => arguments.number(b"clock"),
            None => Some(u64::from(semihosting::time_unix_secs()) - Instant::now().as_secs()),
        };
        Self { started_at }
    }
}

impl Clock for HostClock {
    fn civil(&mut self) -> Option<UnixTime> {
        Some(UnixTime(self.started_at? + Instant::now().as_secs()))
    }
}

/// The processor's own reset.
pub(crate) struct SystemReset;

impl Reset for SystemReset {
    fn reset(&mut self) -> ! {
        cortex_m::peripheral::SCB::sys_reset()
    }
}
