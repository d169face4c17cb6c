//! How deep the stack has been: the start-up code paints it, and what is no longer painted was used.

use cortex_m_rt::STACK_PAINT_VALUE;

/// Bytes of stack that have been used since the start.
pub(crate) fn used_bytes() -> u32 {
    let bottom = &raw const __sheap;
    let top = &raw const _stack_start;
    let mut at = bottom;
    // SAFETY: from the end of the statics to the top of the stack everything is RAM, and aligned to words; below the
    // stack pointer nobody else writes but interrupts, which only paint over what was painted.
    while at < top && unsafe { at.read_volatile() } == STACK_PAINT_VALUE {
        // SAFETY: still below the top.
        at = unsafe { at.add(1) };
    }
    (top as usize - at as usize) as u32
}

unsafe extern "C" {
    static __sheap: u32;
    static _stack_start: u32;
}
