//! How the board starts anew: when the agent wants it, when the program cannot go on, and by the watchdog when it does not.
//! No text is made of a panic.

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use embassy_rp::Peri;
use embassy_rp::peripherals::WATCHDOG;
use embassy_rp::watchdog::Watchdog;
use embassy_time::{Duration, Timer};
use muster_agent_nostd::platform::Reset;

/// The processor's own reset.
pub(crate) struct SystemReset;

impl Reset for SystemReset {
    fn reset(&mut self) -> ! {
        now()
    }
}

/// Starts the board anew.
pub(crate) fn now() -> ! {
    SCB::sys_reset()
}

/// The watchdog, which a task feeds: what holds the executor up for longer than this ends in a new start.
pub(crate) struct Watch(Watchdog);

impl Watch {
    /// Starts it.
    pub(crate) fn start(watchdog: Peri<'static, WATCHDOG>) -> Self {
        let mut watchdog = Watchdog::new(watchdog);
        watchdog.start(HUNGRY);
        Self(watchdog)
    }

    /// Feeds it whenever the executor has time.
    pub(crate) async fn feed_for_ever(mut self) {
        loop {
            self.0.feed(HUNGRY);
            Timer::after(PAUSE).await;
        }
    }
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    now()
}

// SAFETY: it touches nothing that the code it interrupted may have left half done.
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    now()
}

/// Longer than a handshake's longest step and an erase of the flash. The hardware can count 16 seconds.
const HUNGRY: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_secs(1);
