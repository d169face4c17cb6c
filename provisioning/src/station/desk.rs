//! What a session needs of the station: ledger and issuing CA, behind one trait, so that a session can be cut off at each
//! of their steps in a test.

use muster_protocol::DeviceId;
use muster_protocol::message::factory::Digest;
use muster_protocol::pki::PublicKey;
use muster_terminal::Failure;

use super::Willing;
use crate::ledger::Entry;

/// Ledger and issuing CA. Whatever is recorded is on disk when the call returns.
pub trait Desk {
    /// What the ledger says of a key, whichever station wrote it. A key of another station's run is refused.
    fn known(&mut self, key: &PublicKey) -> Result<Option<Entry>, Failure>;

    /// The name for a board with a new key: set aside now, or by a station that was cut off.
    fn reserve(&mut self) -> Result<DeviceId, Failure>;

    /// Binds the name to the key for ever.
    fn bind(&mut self, device: &DeviceId, willing: &Willing) -> Result<(), Failure>;

    /// Signs the certificate and records it. DER comes back.
    fn issue(&mut self, device: &DeviceId, willing: &Willing) -> Result<Vec<u8>, Failure>;

    /// The board read back both parts.
    fn written(&mut self, device: &DeviceId, certificate: &Digest, trust: &Digest) -> Result<(), Failure>;

    /// The board locked its identity.
    fn locked(&mut self, device: &DeviceId) -> Result<(), Failure>;
}
