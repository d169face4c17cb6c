//! What happens to a device: every input of the state machine.

use crate::code::Code;
use crate::pki::chain::VerifiedGateway;
use crate::pki::key::{PublicKey, Signature};
use crate::slot::SlotId;

/// Why a connection did not come about or ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No route, no answer, reset, or closed without a word.
    Unreachable,
    /// The gateway refused, by TLS alert or by a reason of MQTT's.
    Refused(Code),
    /// We refused the gateway: its chain did not verify.
    GatewayUntrusted(Code),
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The record of the last [`super::Output::Persist`] is durable.
    Persisted,
    /// It could not be stored. The machine stops and asks for a restart.
    PersistFailed,
    /// The key store made and stored a key.
    KeyGenerated {
        /// Where.
        slot: SlotId,
        /// Its public half.
        public_key: PublicKey,
    },
    /// The key store could not make a key, or could not sign.
    KeyFailed,
    /// The answer to [`super::Output::Sign`].
    Signed(Signature),
    /// TLS is up, the gateway is verified, MQTT is connected and the down topic of the credential's channel subscribed.
    Connected(VerifiedGateway),
    /// The last [`super::Output::Connect`] failed.
    ConnectFailed(Failure),
    /// A connection that was up has ended.
    Disconnected(Failure),
    /// A control message came.
    Message(&'a [u8]),
    /// The answer to [`super::Output::FetchBundle`]: a signed bundle from the open address.
    Bundle(&'a [u8]),
    /// Somebody at the device wants its key rotated.
    Rotate,
    /// Somebody at the device wants it retired for good.
    Retire,
    /// The time of [`super::Device::poll_timeout`] has come. May come early.
    Timeout,
}
