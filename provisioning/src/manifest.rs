//! Reading a shipment manifest, writing one, and checking whose it is.

use std::path::Path;

use muster_issuing::{KeyPair, pem, seal};
use muster_protocol::UnixTime;
use muster_protocol::manifest::{self, Entry, Header, Manifest};
use muster_protocol::pki::chain::verify_issuing_ca;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::signed::Kind;
use muster_terminal::{Failure, OrFail as _};

/// A manifest whose signature fits, with what people want to know of it.
#[derive(Debug)]
pub struct Content {
    /// SHA-256 of its body, hex.
    pub id: String,
    /// The fleet it is for.
    pub fleet: String,
    /// Product name.
    pub product: String,
    /// Lot, or empty.
    pub lot: String,
    /// When it was made.
    pub made_at: UnixTime,
    /// Fingerprint of the key that signed it, hex.
    pub signer: String,
    /// The devices.
    pub entries: Vec<Entry>,
    issuing_ca: Vec<u8>,
}

/// Reads a manifest and checks its signature and every entry.
pub fn read(path: &Path) -> Result<Content, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).or_fail("manifest.unreadable", &format!("cannot read {shown}"))?;
    let manifest = Manifest::verify(&bytes).map_err(|code| {
        Failure::refused(code.name(), format!("{shown}: {}", code.text()))
            .hint("get the manifest from the factory again")
    })?;
    let header = manifest.header();
    Ok(Content {
        id: manifest.id().iter().map(|byte| format!("{byte:02x}")).collect(),
        fleet: header.fleet.to_string(),
        product: header.product.to_string(),
        lot: header.lot.to_string(),
        made_at: header.made_at,
        signer: manifest.signer().fingerprint().to_string(),
        entries: manifest.entries().collect(),
        issuing_ca: header.issuing_ca.to_vec(),
    })
}

/// Checks that the manifest was signed by the factory whose CA certificates lie in `factory_ca`; the fingerprint of the
/// issuing CA comes back.
pub fn verify_factory(content: &Content, factory_ca: &Path) -> Result<String, Failure> {
    let shown = factory_ca.display();
    let text = std::fs::read_to_string(factory_ca).or_fail("factory_ca.unreadable", &format!("cannot read {shown}"))?;
    let certificates =
        pem::read_certificates(&text).or_fail("factory_ca.malformed", &format!("cannot read {shown}"))?;
    let anchors = certificates
        .iter()
        .map(|der| TrustAnchor::from_der(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|code| Failure::refused(code.name(), format!("{shown}: {}", code.text())))?;
    let now = UnixTime(muster_terminal::time::now_unix_secs());
    let issuer = verify_issuing_ca(&content.issuing_ca, &anchors, now)
        .map_err(|code| Failure::refused(code.name(), format!("the manifest's issuing CA: {}", code.text())))?;
    if issuer.fingerprint().to_string() != content.signer {
        return Err(Failure::refused(
            "manifest.untrusted",
            "the manifest is not signed by the issuing CA that it names",
        ));
    }
    Ok(content.signer.clone())
}

/// Makes the bytes of a manifest, signed with the issuing CA's key.
pub fn write(header: &Header<'_>, entries: &[Entry], issuing_key: &KeyPair) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut buffer = [0; 2048];
    let too_long = |code: muster_protocol::Code| Failure::failed(code.name(), "an entry of the manifest is too long");
    body.extend_from_slice(manifest::frame(header, &mut buffer).map_err(too_long)?);
    for entry in entries {
        body.extend_from_slice(manifest::frame(entry, &mut buffer).map_err(too_long)?);
    }
    let bytes = seal(Kind::Manifest, manifest::VERSION, &body, &[issuing_key])
        .or_fail("manifest.unsigned", "cannot sign the manifest")?;
    // What is shipped is what was read back by the reader's own code.
    Manifest::verify(&bytes).map_err(|code| Failure::failed(code.name(), code.text()))?;
    Ok(bytes)
}
