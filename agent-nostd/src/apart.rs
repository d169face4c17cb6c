//! Futures that are polled in calls of their own.
//!
//! The compiler puts everything that is awaited into one poll function, whose frame is the sum of all steps and stays on
//! the stack below the deepest of them. Here a step gets its own frame, which goes when the step is over.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Awaits `future`, apart from the caller's frame.
pub(crate) async fn apart<F: Future + ?Sized>(mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|context| poll(future.as_mut(), context)).await
}

#[inline(never)]
fn poll<F: Future + ?Sized>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}
