//! The interrupt vectors of AN386 (Arm DAI 0386, table 3-6), and the panic and fault handlers that end a run.

use core::panic::PanicInfo;

use crate::{console, semihosting};

unsafe extern "C" {
    fn UART0_RX();
    fn UART0_TX();
    fn TIMER0();
    fn TIMER1();
    fn ETHERNET();
}

/// An entry of the vector table.
#[derive(Clone, Copy)]
pub(crate) union Vector {
    handler: unsafe extern "C" fn(),
    reserved: usize,
}

const NONE: Vector = Vector { reserved: 0 };

/// The table, which the start-up code's linker script puts behind the core's own vectors.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub(crate) static __INTERRUPTS: [Vector; 32] = {
    let mut vectors = [NONE; 32];
    vectors[Line::Uart0Rx as usize] = Vector { handler: UART0_RX };
    vectors[Line::Uart0Tx as usize] = Vector { handler: UART0_TX };
    vectors[Line::Timer0 as usize] = Vector { handler: TIMER0 };
    vectors[Line::Timer1 as usize] = Vector { handler: TIMER1 };
    vectors[Line::Ethernet as usize] = Vector { handler: ETHERNET };
    vectors
};

/// The interrupt lines that this board uses.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    Uart0Rx = 0,
    Uart0Tx = 1,
    Timer0 = 8,
    Timer1 = 9,
    Ethernet = 13,
}

// SAFETY: each number is a line of this machine and is named once.
unsafe impl cortex_m::interrupt::InterruptNumber for Line {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Lets a line interrupt from now on.
pub(crate) fn enable(line: Line) {
    // SAFETY: the handler is in the table, and no critical section relies on this line's mask.
    unsafe { cortex_m::peripheral::NVIC::unmask(line) };
}

/// A panic: no text is made of it; the run ends with a status of its own.
#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    semihosting::exit(STATUS_PANIC)
}

/// A fault of the core.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    console::say_number(b"fault.pc", frame.pc());
    console::say_number(b"fault.lr", frame.lr());
    semihosting::exit(STATUS_FAULT)
}

/// Exit status after a panic.
pub(crate) const STATUS_PANIC: u8 = 101;
/// Exit status after a fault.
pub(crate) const STATUS_FAULT: u8 = 102;
