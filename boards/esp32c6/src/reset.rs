//! How the board starts anew: when the agent wants it, when the program cannot go on, and by the watchdog when it does not.
//! No text is made of a panic.

use core::panic::PanicInfo;

use embassy_time::Timer;
use esp_hal::peripherals::TIMG0;
use esp_hal::time::Duration;
use esp_hal::timer::timg::{MwdtStage, Wdt};
use muster_agent_nostd::platform::Reset;

/// The chip's own reset.
pub(crate) struct SystemReset;

impl Reset for SystemReset {
    fn reset(&mut self) -> ! {
        now()
    }
}

/// Starts the board anew.
pub(crate) fn now() -> ! {
    esp_hal::system::software_reset()
}

/// The watchdog, which a task feeds: what holds the executor up for longer than this ends in a new start.
pub(crate) struct Watch(Wdt<TIMG0<'static>>);

impl Watch {
    /// Starts it.
    pub(crate) fn start(mut watchdog: Wdt<TIMG0<'static>>) -> Self {
        watchdog.set_timeout(MwdtStage::Stage0, HUNGRY);
        watchdog.enable();
        watchdog.feed();
        Self(watchdog)
    }

    /// Feeds it whenever the executor has time.
    pub(crate) async fn feed_for_ever(mut self) {
        loop {
            self.0.feed();
            Timer::after_secs(1).await;
        }
    }
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    now()
}

/// Longer than a handshake's longest step and an erase of the flash.
const HUNGRY: Duration = Duration::from_secs(8);
