//! How deep the stack has been: the start-up code paints it, and what is no longer painted was used.

use cortex_m_rt::STACK_PAINT_VALUE;

/// Bytes of stack that have been used since the start.
pub(crate) fn used_bytes() -> u32 {
    let top = &raw const _stack_start;
    let mut at = &raw const _stack_end;
    // SAFETY: all of the stack's memory is readable and aligned to words; what others write there while it is read only
    // paints over what was painted.
    while at < top && unsafe { at.read_volatile() } == STACK_PAINT_VALUE {
        // SAFETY: still below the top.
        at = unsafe { at.add(1) };
    }
    (top as usize - at as usize) as u32
}

/// Bytes of RAM that statics take.
pub(crate) fn statics_bytes() -> u32 {
    (&raw const __sheap as usize - &raw const __sdata as usize) as u32
}

unsafe extern "C" {
    static __sdata: u32;
    static __sheap: u32;
    static _stack_end: u32;
    static _stack_start: u32;
}
