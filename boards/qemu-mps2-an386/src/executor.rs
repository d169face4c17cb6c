//! The executor's loop: polls what is ready, sleeps when nothing is, and counts how long it slept and how
//! long a turn took.

use core::future::poll_fn;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll};

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

use crate::timer;

/// Runs the tasks that `start` spawns, for ever.
pub(crate) fn run(start: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    start(executor.spawner());
    loop {
        let before = timer::ticks();
        // SAFETY: there is one executor and this is its only thread; no task polls it.
        unsafe { executor.poll() };
        LONGEST_TURN.fetch_max(timer::ticks().wrapping_sub(before), Ordering::Relaxed);
        cortex_m::interrupt::disable();
        // With interrupts masked a wake between the look and the sleep still ends the sleep.
        if !WOKEN.swap(false, Ordering::Acquire) {
            let before = timer::ticks();
            cortex_m::asm::wfi();
            IDLE.fetch_add(timer::ticks().wrapping_sub(before), Ordering::Relaxed);
        }
        // SAFETY: they were masked three lines above, outside of any critical section.
        unsafe { cortex_m::interrupt::enable() };
    }
}

/// Awaits the future, polled in a call of its own: its temporaries take stack only then.
pub(crate) fn apart<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
    #[inline(never)]
    fn poll<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        future.poll(context)
    }
    poll_fn(move |context| poll(future.as_mut(), context))
}

/// Ticks of 40 ns since the start in which the processor worked, modulo 2^32: the clock without the time asleep. Under
/// `-icount shift=0` a tick is 40 instructions.
pub(crate) fn busy_ticks() -> u32 {
    timer::ticks().wrapping_sub(IDLE.load(Ordering::Relaxed))
}

/// The longest time, in ticks, that a task that was ready had to wait: a turn of all that are ready.
pub(crate) fn longest_turn_ticks() -> u32 {
    LONGEST_TURN.load(Ordering::Relaxed)
}

#[unsafe(export_name = "__pender")]
fn wake(_context: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}

static WOKEN: AtomicBool = AtomicBool::new(false);
static LONGEST_TURN: AtomicU32 = AtomicU32::new(0);
static IDLE: AtomicU32 = AtomicU32::new(0);
