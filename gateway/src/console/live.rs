//! One event stream: it says that something changed, never what. The page reads itself again, so a missed event costs
//! nothing and a reconnect needs no replay.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use muster_protocol::{DeviceId, UnixTime};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::Console;
use crate::admin::Operations;
use crate::store::{Committed, Store};

/// How often what does not wake anybody (sessions that come and go, telemetry) is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Changes closer together than this are one: a thousand devices that come back are not a thousand events.
const GATHER: Duration = Duration::from_millis(300);
/// So that proxies and browsers see that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a browser that lost the stream asks for it again.
const RETRY: Duration = Duration::from_secs(1);

/// Counts up whenever something that pages show has changed. One task for all streams; it ends with the last of them.
pub(super) struct Pulse<S> {
    operations: Arc<Operations<S>>,
    beats: watch::Sender<u64>,
    is_watched: Mutex<bool>,
}

/// What pages show changes with records of the audit and with live sessions.
type Seen = (u64, Option<(u64, u64)>);

impl<S: Store> Pulse<S> {
    pub(super) fn over(operations: Arc<Operations<S>>) -> Arc<Self> {
        Arc::new(Self { operations, beats: watch::Sender::new(0), is_watched: Mutex::new(false) })
    }

    fn listen(self: &Arc<Self>) -> watch::Receiver<u64> {
        let receiver = self.beats.subscribe();
        let mut is_watched = self.is_watched();
        if !*is_watched {
            *is_watched = true;
            let mut commits = self.operations.registrars().store().subscribe();
            let seen = self.look(&mut commits);
            tokio::spawn(Arc::clone(self).watch_for_changes(commits, seen));
        }
        receiver
    }

    async fn watch_for_changes(self: Arc<Self>, mut commits: watch::Receiver<Committed>, mut last: Seen) {
        while !self.is_deserted() {
            // Whichever comes first; a store that is gone leaves the clock.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, commits.changed()).await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let seen = self.look(&mut commits);
            if seen != last {
                last = seen;
                self.beats.send_modify(|beat| *beat += 1);
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn look(&self, commits: &mut watch::Receiver<Committed>) -> Seen {
        let counts = self.operations.registrars().sessions().counts();
        (commits.borrow_and_update().audit, counts.map(|counts| (counts.devices, counts.services)))
    }

    /// Whether nobody listens any more; then whoever listens next starts the watch anew.
    fn is_deserted(&self) -> bool {
        let mut is_watched = self.is_watched();
        *is_watched = self.beats.receiver_count() > 0;
        !*is_watched
    }

    fn is_watched(&self) -> MutexGuard<'_, bool> {
        self.is_watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which page listens.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listener {
    device: Option<String>,
}

/// What a device's page shows beside what everybody hears of.
type Heard = (Option<UnixTime>, Option<UnixTime>);

fn heard<S: Store>(operations: &Operations<S>, device: &DeviceId) -> Heard {
    let sessions = operations.registrars().sessions();
    (sessions.of(device).first().map(|session| session.since), sessions.telemetry(device).map(|telemetry| telemetry.at))
}

/// `GET /events`, and `GET /events?device=ID` for that device's page, which hears of its telemetry too.
pub(super) async fn events<S: Store>(
    State(shared): Console<S>,
    Extension(stop): Extension<CancellationToken>,
    Query(Listener { device }): Query<Listener>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let device = device.and_then(|id| DeviceId::new(&id).ok());
    let beats = shared.pulse.listen();
    let last = device.as_ref().map(|device| heard(&shared.operations, device));
    let first = Event::default().retry(RETRY).comment("muster");
    let stream = futures_util::stream::unfold(
        (Some(first), shared, beats, device, last),
        async |(first, shared, mut beats, device, mut last)| {
            if let Some(first) = first {
                return Some((Ok(first), (None, shared, beats, device, last)));
            }
            loop {
                let changed = tokio::time::timeout(LOOK_EVERY, beats.changed()).await;
                let now = device.as_ref().map(|device| heard(&shared.operations, device));
                match changed {
                    Ok(Err(_)) => return None,
                    Err(_) if now == last => {}
                    Ok(Ok(())) | Err(_) => break last = now,
                }
            }
            let beat = *beats.borrow_and_update();
            let event = Event::default().event("change").data(beat.to_string());
            Some((Ok(event), (None, shared, beats, device, last)))
        },
    );
    // A gateway that stops does not wait for whoever looks at a page.
    let stream = futures_util::StreamExt::take_until(stream, stop.cancelled_owned());
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
