//! One device's folder: made, and read back.

use std::fs;
use std::path::Path;

use muster_issuing::{KeyPair, file, pem};
use muster_protocol::pki::profile::Profile;
use muster_protocol::{DeviceId, Identity, UnixTime};
use muster_terminal::{Failure, OrFail as _};

use super::plan::Plan;
use crate::ceremony::Line;

const CERTIFICATE: &str = "idevid.crt";
const KEY: &str = "idevid.key";
const FLEET: &str = "fleet.muster";
const GATEWAY: &str = "gateway";

pub(super) struct Maker<'a> {
    pub(super) line: &'a Line,
    pub(super) fleet_file: &'a [u8],
    pub(super) plan: &'a Plan,
}

impl Maker<'_> {
    /// Makes a device's folder. The caller forces it to disk.
    pub(super) fn make(&self, folder: &Path, device: &DeviceId) -> Result<(), Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let unwritable = format!("cannot write {}", folder.display());
        let cannot = "cannot make an identity";
        let key = KeyPair::generate().or_fail("batch.key", cannot)?;
        let identity = Identity::device(self.plan.fleet()?, device.clone());
        let now = UnixTime(muster_terminal::time::now_unix_secs());
        let certificate = self
            .line
            .issuer
            .issue(Profile::Idevid, &identity, &key.public_key(), now)
            .or_fail("batch.certificate", cannot)?;
        fs::DirBuilder::new().mode(0o700).create(folder).or_fail("batch.unwritable", &unwritable)?;
        let chain = pem::write_certificates(&[&certificate, &self.line.issuing_ca]);
        let secret = key.to_pem().or_fail("batch.key", cannot)?;
        file::write_secret_unsynced(&folder.join(KEY), secret.as_bytes()).or_fail("batch.unwritable", &unwritable)?;
        fs::write(folder.join(CERTIFICATE), chain).or_fail("batch.unwritable", &unwritable)?;
        fs::write(folder.join(FLEET), self.fleet_file).or_fail("batch.unwritable", &unwritable)?;
        if let Some(gateway) = self.plan.gateway() {
            fs::write(folder.join(GATEWAY), format!("{gateway}\n")).or_fail("batch.unwritable", &unwritable)?;
        }
        Ok(())
    }

    /// Reads a device's folder, checks it as a gateway will, and that key and certificate belong together. The
    /// certificate comes back, DER.
    pub(super) fn read_back(&self, folder: &Path, device: &DeviceId) -> Result<Vec<u8>, Failure> {
        let shown = folder.display();
        let wrong = |what: &str| {
            Failure::failed("batch.identity", format!("{shown}: {what}"))
                .hint(format!("remove {shown} and repeat the command: the device gets a new key under the same id"))
        };
        let text = fs::read_to_string(folder.join(CERTIFICATE))
            .or_fail("batch.unreadable", &format!("cannot read {shown}/{CERTIFICATE}"))?;
        let chain = pem::read_certificates(&text).map_err(|_| wrong("the certificate is not readable"))?;
        let [leaf, ..] = chain.as_slice() else { return Err(wrong("there is no certificate")) };
        let secret =
            file::read_secret(&folder.join(KEY)).or_fail("batch.unreadable", &format!("cannot read {shown}/{KEY}"))?;
        let key = KeyPair::from_pem(&secret).map_err(|_| wrong("the key is not readable"))?;
        let fleet = self.plan.fleet()?;
        let now = UnixTime(muster_terminal::time::now_unix_secs());
        let client = self.line.verify_idevid(leaf, &fleet, now).map_err(|code| wrong(code.text()))?;
        if client.device() != Some(device) {
            return Err(wrong("the certificate is for another device"));
        }
        if *client.public_key() != key.public_key() {
            return Err(wrong("the key does not fit the certificate"));
        }
        Ok(leaf.clone())
    }
}
