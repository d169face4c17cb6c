//! A wait that an alarm may interrupt, but never within a write.

use core::cell::Cell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use embassy_time::{Duration, Timer};

/// What came first.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum First<T> {
    /// The work.
    Done(T),
    /// The alarm.
    Alarm,
    /// The work was writing for too long.
    Stalled,
}

/// Waits for `work` or, while it is not `writing`, for `alarm`. One that writes for longer than `stalled` is given up.
pub(super) async fn either<T>(
    work: impl Future<Output = T>,
    alarm: impl Future<Output = ()>,
    writing: &Cell<bool>,
    stalled: Duration,
) -> First<T> {
    let (mut work, mut alarm) = (pin!(work), pin!(alarm));
    let mut patience: Option<Timer> = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(First::Done(done));
        }
        if !writing.get() {
            patience = None;
            return alarm.as_mut().poll(context).map(|()| First::Alarm);
        }
        // Whoever ends the write wakes us, and then the alarm is looked at again.
        let patience = patience.get_or_insert_with(|| Timer::after(stalled));
        pin!(patience).poll(context).map(|()| First::Stalled)
    })
    .await
}

#[cfg(test)]
mod tests {
    use core::future::{pending, ready};

    use embassy_futures::block_on;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn the_alarm_waits_for_the_write() {
        let writing = Cell::new(true);
        let work = async {
            Timer::after(SHORT).await;
            writing.set(false);
            pending::<()>().await;
        };
        assert_eq!(block_on(either(work, ready(()), &writing, Duration::from_secs(60))), First::Alarm);
        assert!(!writing.get());
    }

    #[test]
    fn work_that_is_done_is_heard_before_the_alarm() {
        assert_eq!(block_on(either(ready(7), ready(()), &Cell::new(false), SHORT)), First::Done(7));
    }

    #[test]
    fn a_write_without_end_is_given_up() {
        assert_eq!(block_on(either(pending::<()>(), ready(()), &Cell::new(true), SHORT)), First::Stalled);
    }
}
