//! Trust bundles: a draft in TOML that people read, signed offline into a fleet file.

use std::fs;
use std::path::{Path, PathBuf};

use muster_issuing::{KeyPair, file, pem, seal};
use muster_protocol::Code;
use muster_protocol::device_id::FleetId;
use muster_protocol::limits::TRUST_BUNDLE_BYTES_MAX;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::signed::Kind;
use muster_protocol::trust::{self, GatewayAddress, Pins, Policy, TrustBundle, VerifiedBundle, read_fleet_file};
use muster_terminal::{Failure, OrFail as _};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    fleet: String,
    number: u32,
    /// PEM files, relative to the draft.
    gateway_cas: Vec<PathBuf>,
    gateways: Vec<GatewayAddress>,
    #[serde(default)]
    policy: Policy,
    next_pins: Option<Pins>,
}

/// What a fleet file says, for people and scripts.
#[derive(Debug)]
pub struct Shown {
    fleet: String,
    number: u32,
    gateways: Vec<String>,
    gateway_cas: Vec<String>,
    pins: Pins,
}

/// Reads a fleet file and checks its signatures.
pub fn show(path: &Path) -> Result<Shown, Failure> {
    let bytes = read(path)?;
    let bundle = parse(&bytes, path)?;
    Ok(Shown::of(&bundle))
}

/// Writes a draft of the bundle that follows the one in force, with everything as it is now: `DIR/draft.toml`, and each
/// gateway CA beside it. Gives the draft's path.
pub fn draft(in_force: &Path, dir: &Path) -> Result<PathBuf, Failure> {
    let bytes = read(in_force)?;
    let verified = parse(&bytes, in_force)?;
    let bundle = verified.bundle();
    let unwritable = |path: &Path| format!("cannot write {}", path.display());
    fs::create_dir_all(dir).or_fail("draft.unwritable", &unwritable(dir))?;
    let mut cas = Vec::new();
    for (number, der) in (1..).zip(&bundle.gateway_cas) {
        let name = format!("gateway-ca-{number}.crt");
        let path = dir.join(&name);
        file::replace_public(&path, pem::write_certificates(&[der]).as_bytes())
            .or_fail("draft.unwritable", &unwritable(&path))?;
        cas.push(name);
    }
    let path = dir.join("draft.toml");
    let number = bundle.number.saturating_add(1);
    let mut text = format!(
        "# A draft of fleet {0}'s next trust bundle. Change what is to change, then sign it:\n\
         # muster-provision fleet sign draft.toml --fleet {1} --key fleet-root.key --out new.muster\n\n\
         fleet = \"{0}\"\n\
         # Higher than the number in force; devices ignore any other.\n\
         number = {number}\n\
         # PEM files beside this one. Keep the old CA here until every device has the bundle with the new one.\n\
         gateway_cas = {cas:?}\n\n\
         # Pins of new fleet keys; such a bundle is signed by both old ones.\n\
         # next_pins = {{ root = \"{2}\", backup = \"{3}\" }}\n",
        bundle.fleet,
        in_force.display(),
        verified.pins().root,
        verified.pins().backup,
    );
    text.push_str(&format!(
        "\n[policy]\n\
         # Longest wait between two attempts to reach the gateway, in seconds.\n\
         backoff_secs_max = {}\n\
         # Share of a certificate's life after which it is renewed, in percent.\n\
         renew_at_percent = {}\n",
        bundle.policy.backoff_secs_max, bundle.policy.renew_at_percent
    ));
    text.push_str("\n# Tried in this order; the host is also the name that the gateway's certificate must carry.\n");
    for at in &bundle.gateways {
        text.push_str(&format!(
            "[[gateways]]\nhost = {:?}\nmqtt_port = {}\nhttps_port = {}\n",
            at.host.as_str(),
            at.mqtt_port,
            at.https_port
        ));
    }
    // Somebody's work may be in an older draft.
    file::create_public(&path, text.as_bytes()).or_fail("draft.exists", &unwritable(&path))?;
    Ok(path)
}

/// Signs `draft` with `keys` and writes the fleet file that follows the one in force.
pub fn sign(draft: &Path, in_force: &Path, keys: &[PathBuf], password: &[u8], out: &Path) -> Result<Shown, Failure> {
    let old = read(in_force)?;
    let in_force = parse(&old, in_force)?;
    let shown = draft.display();
    let text = fs::read_to_string(draft).or_fail("draft.unreadable", &format!("cannot read {shown}"))?;
    let draft_dir = draft.parent().unwrap_or(Path::new("."));
    let draft: Draft = toml::from_str(&text).or_fail("draft.malformed", &format!("cannot read {shown}"))?;
    let fleet = FleetId::new(&draft.fleet).or_fail("draft.malformed", "fleet")?;
    let mut cas = Vec::new();
    for path in &draft.gateway_cas {
        let path = draft_dir.join(path);
        let text = fs::read_to_string(&path).or_fail("draft.gateway_ca", &format!("cannot read {}", path.display()))?;
        cas.extend(
            pem::read_certificates(&text).or_fail("draft.gateway_ca", &format!("cannot read {}", path.display()))?,
        );
    }
    let too_many = |what: &str| Failure::refused("draft.malformed", format!("too many {what} in {shown}"));
    let mut bundle = TrustBundle {
        fleet,
        number: draft.number,
        gateway_cas: heapless::Vec::new(),
        gateways: heapless::Vec::from_slice(&draft.gateways).map_err(|_| too_many("gateways"))?,
        policy: draft.policy,
        next_pins: draft.next_pins,
    };
    for der in &cas {
        bundle.gateway_cas.push(der).map_err(|_| too_many("gateway CAs"))?;
    }
    let keys = keys.iter().map(|path| open_key(path, password)).collect::<Result<Vec<_>, _>>()?;
    let body = postcard::to_stdvec(&bundle).or_fail("draft.malformed", "cannot encode the bundle")?;
    let signers: Vec<&KeyPair> = keys.iter().collect();
    let signed =
        seal(Kind::TrustBundle, trust::VERSION, &body, &signers).or_fail("fleet.unsigned", "cannot sign the bundle")?;
    if signed.len() > TRUST_BUNDLE_BYTES_MAX {
        let why = format!(
            "{shown}: the signed bundle has {} bytes, and a device takes {TRUST_BUNDLE_BYTES_MAX} at most",
            signed.len()
        );
        return Err(Failure::refused(Code::MessageOversized.name(), why).hint("fewer gateway CAs, or shorter names"));
    }
    // The devices' own code has the last word, with the pins that they hold now.
    let refused = |code: Code| Failure::refused(code.name(), format!("{shown}: {}", code.text()));
    let verified = VerifiedBundle::verify(&signed, in_force.pins()).map_err(refused)?;
    verified.supersedes(&in_force.bundle().fleet, in_force.bundle().number).map_err(refused)?;
    let pins = *verified.pins();
    let in_front = in_force.pins();
    let bytes = [&in_front.root.0[..], &in_front.backup.0, &signed].concat();
    file::replace_public(out, &bytes).or_fail("fleet.unwritable", &format!("cannot write {}", out.display()))?;
    Ok(Shown { pins, ..Shown::of(&verified) })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).or_fail("fleet.unreadable", &format!("cannot read {}", path.display()))
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<VerifiedBundle<'a>, Failure> {
    read_fleet_file(bytes).map_err(|code| {
        Failure::refused(code.name(), format!("{}: {}", path.display(), code.text()))
            .hint("get fleet.muster from the gateway again")
    })
}

fn open_key(path: &Path, password: &[u8]) -> Result<KeyPair, Failure> {
    let text = file::read_secret(path).or_fail("key.unreadable", &format!("cannot read {}", path.display()))?;
    KeyPair::from_encrypted_pem(&text, password).or_fail("key.locked", &format!("cannot open {}", path.display()))
}

impl Shown {
    fn of(bundle: &VerifiedBundle<'_>) -> Self {
        let content = bundle.bundle();
        Self {
            fleet: content.fleet.to_string(),
            number: content.number,
            gateways: content
                .gateways
                .iter()
                .map(|at| format!("{}:{} https:{}", at.host, at.mqtt_port, at.https_port))
                .collect(),
            gateway_cas: content.gateway_cas.iter().map(|der| fingerprint(der)).collect(),
            pins: *bundle.pins(),
        }
    }

    /// As one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "fleet": self.fleet,
            "number": self.number,
            "gateways": self.gateways,
            "gateway_ca_keys": self.gateway_cas,
            "pin_root": self.pins.root.to_string(),
            "pin_backup": self.pins.backup.to_string(),
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("fleet {}, trust bundle {}\n", self.fleet, self.number);
        for gateway in &self.gateways {
            text.push_str(&format!("  gateway     {gateway}\n"));
        }
        for key in &self.gateway_cas {
            text.push_str(&format!("  gateway CA  {key}\n"));
        }
        text.push_str(&format!("  pin root    {}\n  pin backup  {}\n", self.pins.root, self.pins.backup));
        text
    }
}

fn fingerprint(der: &[u8]) -> String {
    Certificate::parse(der)
        .and_then(|certificate| certificate.public_key())
        .map_or_else(|code| code.name().to_owned(), |key| key.fingerprint().to_string())
}
