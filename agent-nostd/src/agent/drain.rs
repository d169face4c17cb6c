//! What the core wants done at once: its outputs, one after the other, to the last.
//!
//! What an output brings about (a key, a signature) is given to the core after the outputs that came with it; only
//! `Persisted` answers in between, for it is a barrier. What takes a connection is collected and done by the caller.

use embassy_futures::yield_now;
use muster_protocol::device::{Credential, Device, Event, Input, Output};
use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::slot::SlotId;
use rand_core::CryptoRngCore;

use super::{App, Running, Source, Vault};
use crate::clock;
use crate::fmt::Told;
use crate::key::DeviceKey as _;
use crate::mqtt;
use crate::platform::Clock;
use crate::tls::GuardError;

/// What is left to do when the core is drained.
#[derive(Clone, Copy, Default)]
pub(super) struct Wants {
    /// Connect with this.
    pub(super) connect: Option<Credential>,
    /// End the session.
    pub(super) disconnect: bool,
    /// Get the trust bundle from the open address.
    pub(super) fetch: bool,
    /// Boot anew.
    pub(super) restart: bool,
    /// The session broke while something was sent.
    pub(super) broken: Option<Broken>,
}

/// Why a session ended that was not hung up.
pub(super) type Broken = mqtt::End<GuardError>;

/// Where control messages go.
pub(super) trait Outlet {
    async fn send(&mut self, message: &[u8]) -> Result<(), Broken>;
}

/// There is no session: nothing can be said, and the core knows.
pub(super) struct Offline;

impl Outlet for Offline {
    async fn send(&mut self, _message: &[u8]) -> Result<(), Broken> {
        Err(mqtt::End::Silent)
    }
}

/// What an output brought about.
#[derive(Clone, Copy)]
enum Effect {
    KeyGenerated(SlotId, PublicKey),
    KeyFailed,
    Signed(Signature),
}

impl<V, R, C, A> Running<'_, V, R, C, A>
where
    V: Vault,
    R: CryptoRngCore,
    C: Clock,
    A: App,
{
    pub(super) async fn drain(&mut self, device: &mut Device, outlet: &mut impl Outlet) -> Wants {
        let mut wants = Wants::default();
        let mut effect = None;
        loop {
            let floor = device.clock_floor();
            let Some(output) = device.poll_output() else {
                let input = match effect.take() {
                    Some(Effect::KeyGenerated(slot, public_key)) => Input::KeyGenerated { slot, public_key },
                    Some(Effect::KeyFailed) => Input::KeyFailed,
                    Some(Effect::Signed(signature)) => Input::Signed(signature),
                    None => return wants,
                };
                // A key was made, or a signature: others come first.
                yield_now().await;
                device.handle_input(clock::now(&mut self.clock, floor), input);
                continue;
            };
            match output {
                Output::Persist { item, bytes } => {
                    let stored = self.vault.put(item, bytes).await;
                    let input = if stored.is_ok() { Input::Persisted } else { Input::PersistFailed };
                    device.handle_input(clock::now(&mut self.clock, floor), input);
                }
                // One request is under way at a time, and it makes a key before it signs: no effect is ever lost.
                Output::GenerateKey(slot) => {
                    let made = self.vault.generate(slot, self.rng);
                    effect = Some(made.map_or(Effect::KeyFailed, |key| Effect::KeyGenerated(slot, key)));
                }
                Output::Sign { slot, message } => {
                    let key = self.vault.key(Credential::Slot(slot));
                    let signed = key.and_then(|mut key| key.sign(message));
                    effect = Some(signed.map_or(Effect::KeyFailed, Effect::Signed));
                }
                Output::WipeKey(slot) => {
                    // A key that is left is wiped at the next boot.
                    if self.vault.wipe(slot).is_err() {
                        self.app.told(Told::Device(Event::KeyStoreFailed));
                    }
                }
                Output::Connect(credential) => wants.connect = Some(credential),
                Output::Disconnect => {
                    wants.connect = None;
                    wants.disconnect = true;
                }
                Output::Send(message) => {
                    if wants.broken.is_none() {
                        wants.broken = outlet.send(message).await.err();
                    }
                }
                Output::FetchBundle => wants.fetch = true,
                Output::Restart => wants.restart = true,
                Output::Event(event) => {
                    if let Event::BundleInForce(_) = event {
                        self.trust = Source::Stored;
                    }
                    self.app.told(Told::Device(event));
                }
            }
        }
    }

    pub(super) fn input(&mut self, device: &mut Device, input: Input<'_>) {
        let now = clock::now(&mut self.clock, device.clock_floor());
        device.handle_input(now, input);
    }
}
