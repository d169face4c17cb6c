//! How the board starts anew: when the agent wants it, when the program cannot go on, and by the watchdog when it does not.
//! No text is made of a panic.

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use embassy_nrf::Peri;
use embassy_nrf::peripherals::WDT;
use embassy_nrf::wdt::{self, Watchdog, WatchdogHandle};
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
pub(crate) struct Watch(WatchdogHandle);

impl Watch {
    /// Starts it; `None` when it runs already, otherwise than we want it.
    pub(crate) fn start(watchdog: Peri<'static, WDT>) -> Option<Self> {
        let mut config = wdt::Config::default();
        config.timeout_ticks = HUNGRY_TICKS;
        let (_, [handle]) = Watchdog::try_new(watchdog, config).ok()?;
        Some(Self(handle))
    }

    /// Feeds it once.
    pub(crate) fn feed(&mut self) {
        self.0.pet();
    }

    /// Feeds it whenever the executor has time.
    pub(crate) async fn feed_for_ever(mut self) {
        loop {
            self.feed();
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

/// 16 seconds of 32768 ticks: longer than a handshake's longest step and an erase of the flash.
const HUNGRY_TICKS: u32 = 16 * 32_768;
const PAUSE: Duration = Duration::from_secs(1);
