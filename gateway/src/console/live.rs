//! One event stream: it says that something changed, never what. The page reads itself again, so a missed event costs
//! nothing and a reconnect needs no replay.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};

use super::Console;
use crate::admin::Operations;
use crate::store::Store;

/// How often what does not wake anybody (sessions that come and go) is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So that proxies and browsers see that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Counts up whenever something that pages show has changed. One task for all pages; it ends with the last of them.
pub(super) struct Pulse {
    beats: watch::Sender<u64>,
    look: Box<dyn Fn(watch::Sender<u64>) + Send + Sync>,
}

impl Pulse {
    pub(super) fn over<S: Store>(operations: Arc<Operations<S>>) -> Self {
        let look = move |beats: watch::Sender<u64>| {
            let operations = Arc::clone(&operations);
            tokio::spawn(async move { watch_for_changes(&operations, &beats).await });
        };
        Self { beats: watch::Sender::new(0), look: Box::new(look) }
    }

    fn listen(&self) -> watch::Receiver<u64> {
        let idle = self.beats.receiver_count() == 0;
        let receiver = self.beats.subscribe();
        if idle {
            (self.look)(self.beats.clone());
        }
        receiver
    }
}

async fn watch_for_changes<S: Store>(operations: &Operations<S>, beats: &watch::Sender<u64>) {
    let mut last = None;
    let mut commits = operations.registrars().store().subscribe();
    while beats.receiver_count() > 0 {
        let audit = commits.borrow_and_update().audit;
        let sessions = operations.registrars().sessions().counts().map(|counts| (counts.devices, counts.services));
        // What pages show changes with records of the audit and with live sessions.
        let seen = (audit, sessions);
        if last.replace(seen).is_some_and(|last| last != seen) {
            beats.send_modify(|beat| *beat += 1);
        }
        // Whichever comes first; a store that is gone leaves the clock.
        if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, commits.changed()).await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

pub(super) async fn events<S: Store>(State(shared): Console<S>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let beats = WatchStream::from_changes(shared.pulse.listen());
    let events = beats.map(|beat| Ok(Event::default().event("change").id(beat.to_string()).data("")));
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
