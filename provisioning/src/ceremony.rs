//! The PKI ceremony: a factory root, kept offline, and an issuing CA for the line.

use std::fs;
use std::path::{Path, PathBuf};

use muster_issuing::{Issuer, KeyPair, file, pem};
use muster_protocol::device_id::FleetId;
use muster_protocol::pki::algorithm::ECDSA_P256_SHA256;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::chain::{ClientAnchors, VerifiedClient, verify_client};
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::{Code, UnixTime};
use muster_terminal::{Failure, OrFail as _};

/// The root's encrypted key.
pub const ROOT_KEY: &str = "factory-root.key";
/// The root's certificate.
pub const ROOT_CERTIFICATE: &str = "factory-root.crt";
/// The issuing CA's key.
pub const ISSUING_KEY: &str = "issuing-ca.key";
/// The issuing CA's certificate.
pub const ISSUING_CERTIFICATE: &str = "issuing-ca.crt";
/// Both certificates, for the gateway.
pub const FACTORY_CA: &str = "factory-ca.crt";

/// What the ceremony made.
#[derive(Debug)]
pub struct Made {
    /// SHA-256 of the root's key.
    pub root_fingerprint: KeyFingerprint,
    /// SHA-256 of the issuing CA's key.
    pub issuing_fingerprint: KeyFingerprint,
}

/// Refuses a folder that has something in it.
pub fn check_absent(dir: &Path) -> Result<(), Failure> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                Err(Failure::refused("pki.exists", format!("{} is not empty; nothing was changed", dir.display()))
                    .hint("a factory's PKI is made once; give another --dir for another factory"))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).or_fail("pki.unreadable", &format!("cannot look into {}", dir.display())),
    }
}

/// Makes the PKI. It appears under `dir` whole or not at all.
pub fn init(dir: &Path, name: &str, password: &[u8]) -> Result<Made, Failure> {
    if name.is_empty() || name.contains('.') || name.chars().any(char::is_control) || name.len() > 40 {
        let message = "the factory's name has 1 to 40 characters and no dot: it must not look like a domain name";
        return Err(Failure::usage("pki.name", message));
    }
    let cannot = format!("cannot make the PKI in {}", dir.display());
    let partial = partial_beside(dir)?;
    let now = UnixTime(muster_terminal::time::now_unix_secs());
    let made = write_all(&partial, name, password, now);
    let outcome = made.and_then(|made| {
        file::sync_dir(&partial).or_fail("pki.unwritable", &cannot)?;
        fs::rename(&partial, dir).or_fail("pki.unwritable", &cannot)?;
        file::sync_dir(parent_of(dir)).or_fail("pki.unwritable", &cannot)?;
        Ok(made)
    });
    if outcome.is_err() {
        // Half a PKI holds keys that nobody will use; the error that matters is the first one.
        let _ = fs::remove_dir_all(&partial);
    }
    outcome
}

fn write_all(dir: &Path, name: &str, password: &[u8], now: UnixTime) -> Result<Made, Failure> {
    let cannot = "cannot make the factory's CAs";
    let root_key = KeyPair::generate().or_fail("pki.key", cannot)?;
    let issuing_key = KeyPair::generate().or_fail("pki.key", cannot)?;
    let made = Made {
        root_fingerprint: root_key.public_key().fingerprint(),
        issuing_fingerprint: issuing_key.public_key().fingerprint(),
    };
    let root_pem = root_key.to_encrypted_pem(password).or_fail("pki.key", cannot)?;
    let issuing_pem = issuing_key.to_pem().or_fail("pki.key", cannot)?;
    let root = Issuer::create(Profile::FactoryRoot, &format!("{name} root CA"), root_key, now)
        .or_fail("pki.certificate", cannot)?;
    let issuing = root
        .issue_ca(Profile::FactoryIssuing, &format!("{name} issuing CA"), &issuing_key.public_key(), now)
        .or_fail("pki.certificate", cannot)?;
    let unwritable = format!("cannot write into {}", dir.display());
    let root_crt = pem::write_certificates(&[root.certificate()]);
    let issuing_crt = pem::write_certificates(&[&issuing]);
    file::create_secret(&dir.join(ROOT_KEY), root_pem.as_bytes()).or_fail("pki.unwritable", &unwritable)?;
    file::create_secret(&dir.join(ISSUING_KEY), issuing_pem.as_bytes()).or_fail("pki.unwritable", &unwritable)?;
    for (file_name, text) in [
        (ROOT_CERTIFICATE, root_crt.clone()),
        (ISSUING_CERTIFICATE, issuing_crt.clone()),
        (FACTORY_CA, format!("{issuing_crt}{root_crt}")),
    ] {
        file::create_public(&dir.join(file_name), text.as_bytes()).or_fail("pki.unwritable", &unwritable)?;
    }
    Ok(made)
}

/// A fresh private folder beside `dir`; what an earlier, killed ceremony left there is removed.
fn partial_beside(dir: &Path) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let cannot = format!("cannot make {}", dir.display());
    let parent = parent_of(dir);
    fs::create_dir_all(parent).or_fail("pki.unwritable", &cannot)?;
    let name = dir.file_name().ok_or_else(|| Failure::usage("pki.dir", "--dir needs the name of a folder"))?;
    let partial = parent.join(format!(".{}.partial", name.to_string_lossy()));
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).or_fail("pki.unwritable", &cannot);
        }
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&partial).or_fail("pki.unwritable", &cannot)?;
    Ok(partial)
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The part of the PKI that a batch needs.
#[derive(Debug)]
pub struct Line {
    /// The issuing CA.
    pub issuer: Issuer,
    /// Its certificate, DER.
    pub issuing_ca: Vec<u8>,
}

impl Line {
    /// Checks an IDevID as a gateway will that has this line's issuing CA as its anchor.
    pub fn verify_idevid(&self, leaf: &[u8], fleet: &FleetId, now: UnixTime) -> Result<VerifiedClient, Code> {
        let factory = [TrustAnchor::from_der(&self.issuing_ca)?];
        let anchors = ClientAnchors { factory: &factory, device: &[], operator: &[] };
        verify_client(&[leaf], &anchors, fleet, now, &[ECDSA_P256_SHA256])
    }
}

/// Opens the issuing CA.
pub fn open(dir: &Path) -> Result<Line, Failure> {
    let hint = format!("make one first: muster-provision pki init --dir {}", dir.display());
    let text = fs::read_to_string(dir.join(ISSUING_CERTIFICATE))
        .or_fail("pki.unreadable", &format!("cannot read the issuing CA in {}", dir.display()))
        .map_err(|failure| failure.hint(&*hint))?;
    let key =
        file::read_secret(&dir.join(ISSUING_KEY)).or_fail("pki.unreadable", "cannot read the issuing CA's key")?;
    let key = KeyPair::from_pem(&key).or_fail("pki.malformed", "the issuing CA's key")?;
    let mut certificates = pem::read_certificates(&text).or_fail("pki.malformed", "the issuing CA's certificate")?;
    let issuing_ca = match (certificates.pop(), certificates.is_empty()) {
        (Some(certificate), true) => certificate,
        _ => {
            return Err(Failure::failed(
                "pki.malformed",
                format!("{ISSUING_CERTIFICATE} does not hold one certificate"),
            ));
        }
    };
    Certificate::parse(&issuing_ca).map_err(|code| Failure::failed(code.name(), code.text()))?;
    let issuer =
        Issuer::open(Profile::FactoryIssuing, issuing_ca.clone(), key).or_fail("pki.malformed", "the issuing CA")?;
    Ok(Line { issuer, issuing_ca })
}
