//! One listener: accepts, shakes hands off the accept loop, hands channels on. Nothing that a client does or fails to do
//! holds up another one.
//!
//! | bound | what happens beyond it |
//! |---|---|
//! | open connections | closed at once, before a byte is read |
//! | handshakes at the same time | the others wait, within their deadline; silence takes no turn |
//! | time until the handshake is over | closed |

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_protocol::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limit::StrangerMeter;
use crate::tls::{Established, Handshake, HandshakeRecord, Verdict};
use crate::trail::Trail;

/// Room of one listener.
#[derive(Debug)]
pub struct Slots {
    connections: Arc<Semaphore>,
    connections_max: u32,
    handshakes: Semaphore,
    turned_away: AtomicU64,
}

/// A place among the open connections, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// Room for so many.
    #[must_use]
    pub fn new(connections_max: usize, handshakes_max: usize) -> Self {
        let connections_max = u32::try_from(connections_max).unwrap_or(u32::MAX);
        Self {
            connections: Arc::new(Semaphore::new(connections_max as usize)),
            connections_max,
            handshakes: Semaphore::new(handshakes_max),
            turned_away: AtomicU64::new(0),
        }
    }

    /// A place, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Slot> {
        match Arc::clone(&self.connections).try_acquire_owned() {
            Ok(permit) => Some(Slot { _permit: permit }),
            Err(_) => {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Returns when no connection is open any more.
    pub async fn emptied(&self) {
        // The semaphore is never closed.
        drop(self.connections.acquire_many(self.connections_max).await);
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        (self.connections_max as usize).saturating_sub(self.connections.available_permits())
    }

    /// How many connections found no place.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}

/// What the connections of one listener share.
#[derive(Debug)]
pub struct Reception {
    /// How hands are shaken.
    pub handshake: Handshake,
    /// How many may come.
    pub slots: Slots,
    /// Where refusals are recorded.
    pub trail: Trail,
    /// How many of them.
    pub meter: Arc<StrangerMeter>,
}

impl Reception {
    /// Accepts until told to stop. `deadline` is asked for each connection; `serve` gets each channel that stands, in a task
    /// of its own, and keeps the slot as long as the connection is open.
    pub async fn accept<D, F, Served>(
        self: Arc<Self>,
        listener: TcpListener,
        deadline: D,
        serve: F,
        stop: CancellationToken,
    ) where
        D: Fn() -> Duration + Send,
        F: Fn(Established<TcpStream>, HandshakeRecord, Slot) -> Served + Clone + Send + Sync + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let mut pause = PAUSE_MIN;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if is_shortage(&error) {
                        tracing::error!(%error, "no connection can be accepted now");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    } else {
                        tracing::debug!(%error, "a connection was gone before it was accepted");
                    }
                    continue;
                }
            };
            pause = PAUSE_MIN;
            let Some(slot) = self.slots.take() else {
                self.turn_away(peer);
                continue;
            };
            let (reception, serve) = (Arc::clone(&self), serve.clone());
            let until = Instant::now() + deadline();
            tokio::spawn(async move {
                if let Some((established, record)) = reception.receive(socket, peer, until).await {
                    // A new task, so that an open connection does not keep the handshake's memory.
                    tokio::spawn(serve(established, record, slot));
                }
            });
        }
    }

    /// Shakes hands and records how it went.
    async fn receive(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        until: Instant,
    ) -> Option<(Established<TcpStream>, HandshakeRecord)> {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, %peer, "the connection is gone already");
            return None;
        }
        // Whoever says nothing takes no turn. Readiness alone may be a false alarm; a byte is not.
        let turn = tokio::time::timeout_at(until, async {
            let _ = socket.peek(&mut [0]).await;
            self.slots.handshakes.acquire().await
        });
        let Ok(turn) = turn.await else {
            self.handshake.timed_out(peer).log();
            return None;
        };
        let (outcome, record) = self.handshake.run(socket, peer, until).await;
        drop(turn);
        record.log();
        match outcome {
            Ok(established) => Some((established, record)),
            Err(refused) => {
                if let Verdict::Refused(code) = record.verdict {
                    self.record_refusal(&record, code);
                }
                refused.close().await;
                None
            }
        }
    }

    /// A port scan or a health check of a load balancer says nothing and is none for the audit.
    fn record_refusal(&self, record: &HandshakeRecord, code: Code) {
        if record.is_hang_up {
            return;
        }
        match self.meter.count(record.peer.ip(), record.at) {
            None => {}
            Some(0) => self.trail.record(record.refusal(code)),
            Some(withheld) => self.trail.record(record.refusal(code).detail("withheld", withheld)),
        }
    }

    fn turn_away(&self, peer: SocketAddr) {
        let turned_away = self.slots.turned_away();
        // Once in a thousand: a log that grows with an attack is a part of it.
        if turned_away % 1000 == 1 {
            let code = Code::SessionBusy.name();
            tracing::warn!(%peer, turned_away, code, "no room for another connection");
        }
    }
}

/// Whether waiting may help: files, buffers or memory are used up.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
