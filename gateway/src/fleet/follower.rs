//! Follows the registry's changes, whoever made them, and carries them to those who are connected: a device that is kept
//! out, a certificate that was withdrawn, rights that have changed, a factory CA that is gone. Also ends what has lived
//! long enough.
//!
//! A wake-up of the store makes it fast; the poll makes it sure. Cutting twice is harmless.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::pki::chain::Role;
use muster_protocol::registrar::Reason;
use muster_protocol::{Code, UnixTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::live::{LiveSessions, OperatorConnections};
use crate::clock::Clock;
use crate::registrar::Sessions;
use crate::store::{ChangeSeq, Changed, Store, StoreError};
use crate::tls::LiveAnchors;

/// The task that follows.
pub struct Follower<S> {
    store: Arc<S>,
    live: Arc<LiveSessions>,
    operators: Arc<OperatorConnections>,
    anchors: Arc<LiveAnchors>,
    clock: Clock,
    session_max: watch::Receiver<Duration>,
    seen: ChangeSeq,
}

impl<S: Store> Follower<S> {
    /// A follower that starts at the last change there is now, with the factory CAs of the store in force. To be made
    /// before anybody is let in.
    ///
    /// # Errors
    /// When the store cannot be read, or a stored factory CA is none.
    pub async fn start(
        store: Arc<S>,
        live: Arc<LiveSessions>,
        operators: Arc<OperatorConnections>,
        anchors: Arc<LiveAnchors>,
        clock: Clock,
        session_max: watch::Receiver<Duration>,
    ) -> Result<Self, StoreError> {
        let seen = store.changes_after(ChangeSeq(u64::from(u32::MAX) << 16), 1).await?.head;
        let follower = Self { store, live, operators, anchors, clock, session_max, seen };
        follower.read_factory_cas().await?;
        Ok(follower)
    }

    /// Follows until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut committed = self.store.subscribe();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                woken = committed.changed() => {
                    if woken.is_err() {
                        // The store is closed: nothing changes any more.
                        return stop.cancelled().await;
                    }
                }
                _ = sweep.tick() => self.sweep(),
            }
            self.catch_up().await;
        }
    }

    async fn catch_up(&mut self) {
        loop {
            let changes = match self.store.changes_after(self.seen, CHANGES_AT_ONCE).await {
                Ok(changes) => changes,
                Err(error) => return tracing::error!(%error, "the store's changes cannot be read"),
            };
            if changes.rows.is_empty() {
                return;
            }
            for (seq, changed) in changes.rows {
                if let Err(error) = self.carry(&changed).await {
                    // The next poll starts here again.
                    return tracing::error!(%error, "a change could not be carried to the live sessions");
                }
                self.seen = seq;
            }
        }
    }

    async fn carry(&self, changed: &Changed) -> Result<(), StoreError> {
        match changed {
            Changed::Device(id) => {
                let code = match self.store.device(id).await? {
                    Some(device) => device.record.kept_out(),
                    None => Some(Code::DeviceUnknown),
                };
                if let Some(code) = code {
                    self.live.cut(id, code);
                }
            }
            Changed::Certificate { serial, .. } => {
                let reason = self.store.certificate(serial).await?.and_then(|found| found.withdrawn);
                let code = match reason.map(|withdrawal| withdrawal.reason) {
                    None => return Ok(()),
                    Some(Reason::Superseded) => Code::CertificateSuperseded,
                    Some(_) => Code::CertificateRevoked,
                };
                self.live.cut_where(code, |client, _| client.serial() == serial && client.role() != Role::Idevid);
            }
            Changed::Service(name) => self.live.regrant(name, self.store.service(name).await?.as_ref()),
            Changed::Operator(name) => {
                let serial = self.store.operator(name).await?.map(|operator| operator.serial);
                self.operators.keep_only(name, serial.as_ref());
            }
            Changed::FactoryCas => {
                if self.read_factory_cas().await? > 0 {
                    // Those whose CA is still there come back at once.
                    self.live.cut_where(Code::SessionRightsChanged, |client, _| client.role() == Role::Idevid);
                }
            }
        }
        Ok(())
    }

    /// Puts the stored factory CAs in force; gives how many are gone.
    async fn read_factory_cas(&self) -> Result<usize, StoreError> {
        let cas = self.store.factory_cas().await?;
        // One at a time: a row that is no CA any more must not take the others with it.
        let mut usable = Vec::new();
        for ca in &cas {
            match crate::tls::Anchors::new([&*ca.der], [], []) {
                Ok(_) => usable.push(&*ca.der),
                Err(code) => tracing::error!(id = %ca.id, code = code.name(), "a stored factory CA cannot be used"),
            }
        }
        Ok(self.anchors.replace_factory(&usable).unwrap_or_else(|code| {
            tracing::error!(code = code.name(), "the factory CAs cannot be used");
            0
        }))
    }

    /// Ends sessions whose certificate has expired by the civil clock, which may have jumped, and those that are too old.
    fn sweep(&self) {
        let now = self.clock.now();
        self.live.cut_where(Code::CertificateExpired, |client, _| client.not_after() < now);
        let age_secs_max = self.session_max.borrow().as_secs();
        self.live.cut_where(Code::SessionAge, |_, since: UnixTime| now.secs_since(since) >= age_secs_max);
    }
}

const SWEEP_EVERY: Duration = Duration::from_secs(1);
const CHANGES_AT_ONCE: u16 = 256;
