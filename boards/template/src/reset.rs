//! How the board starts anew: when the agent wants it, and when the program cannot go on. No text is made of a panic.

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
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

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    now()
}

// SAFETY: it touches nothing that the code it interrupted may have left half done.
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    now()
}
