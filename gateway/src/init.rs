//! Setting a directory up: CAs, fleet keys, the first trust bundle, server certificate, database, settings.
//!
//! Each file is written whole or not at all, and none that is there is overwritten, so an `init` that was killed can be
//! run again: it takes what is there and makes the rest. The settings come last; with them the directory is set up.

use std::path::PathBuf;

use muster_issuing::{Issuer, KeyPair, pem, seal};
use muster_protocol::limits::{GATEWAYS_MAX, HOST_BYTES_MAX};
use muster_protocol::pki::profile::Profile;
use muster_protocol::signed::Kind;
use muster_protocol::trust::{self, GatewayAddress, Pins, Policy, TrustBundle, read_fleet_file};
use muster_protocol::{Code, FleetId, UnixTime};
use muster_terminal::{Failure, Password};

use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::config::{Config, DEFAULT_TEXT};
use crate::directory::{self, Access, Authority, Directory, DirectoryError};
use crate::registrar::apply_until_known;
use crate::server_certificate::{self, ServerCertificateError};
use crate::store::{Change, OpenError, SqliteStore, Store, StoreError, Transaction};

/// What is to be set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Where.
    pub directory: PathBuf,
    /// The fleet.
    pub fleet: FleetId,
    /// DNS names and IP addresses under which devices reach the gateway, the first one first.
    pub names: Vec<String>,
    /// Where devices find MQTT.
    pub mqtt_port: u16,
    /// Where devices find the newest trust bundle.
    pub https_port: u16,
}

/// Why it could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It was set up before.
    #[error("{} is a gateway's directory already; nothing was changed", .0.display())]
    Done(PathBuf),
    /// What an earlier `init` left is for other names, ports or another fleet.
    #[error("{} was begun for fleet {fleet} and {names}", directory.display())]
    OtherPlan {
        /// The directory.
        directory: PathBuf,
        /// Its fleet.
        fleet: FleetId,
        /// Its names and ports.
        names: String,
    },
    /// A name is none, or there are too many.
    #[error("{0}")]
    Name(String),
    /// A file of an earlier `init` is not what it should be.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The trust bundle does not fit its format.
    #[error("the trust bundle cannot be made: {0}")]
    Bundle(String),
    /// A certificate could not be made.
    #[error("a CA certificate could not be made")]
    Issue(#[from] muster_issuing::IssueError),
    /// A key could not be made.
    #[error("a key could not be made")]
    Key(#[from] muster_issuing::KeyError),
    /// The server certificate could not be made.
    #[error(transparent)]
    ServerCertificate(#[from] ServerCertificateError),
    /// The database could not be made.
    #[error("the database could not be made")]
    Database(#[from] OpenError),
    /// The database could not be written.
    #[error("the database could not be written")]
    Store(#[from] StoreError),
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Directory(error) => error.into(),
            InitError::ServerCertificate(error) => error.into(),
            InitError::Done(_) => {
                Self::refused("directory.exists", error.to_string()).hint("start it: muster-gateway run --dir DIR")
            }
            InitError::OtherPlan { .. } => Self::refused("directory.other_plan", error.to_string())
                .hint("give the same --fleet, --name and ports again, or remove the directory first"),
            InitError::Name(_) => Self::usage("name.malformed", error.to_string()),
            InitError::Unusable { .. } => Self::from_error("directory.unusable", "", &error)
                .hint("give the password of the first init, or remove the directory and begin again"),
            _ => Self::from_error("init.failed", "", &error),
        }
    }
}

/// What was set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The directory.
    pub directory: Directory,
    /// The fleet.
    pub fleet: FleetId,
    /// Its pins.
    pub pins: Pins,
    /// Until when the server certificate is valid.
    pub server_not_after: UnixTime,
}

/// Sets a directory up, or finishes what an earlier call began. Blocks.
///
/// # Errors
/// [`InitError::Done`] when it was set up before; nothing is changed then.
pub async fn init(plan: &Plan, password: &Password, now: UnixTime) -> Result<Report, InitError> {
    check_names(&plan.names)?;
    let directory = Directory::create(&plan.directory)?;
    let _lock = directory.lock()?;
    if directory.config().exists() {
        return Err(InitError::Done(plan.directory.clone()));
    }
    let gateway_ca = authority(&directory, plan, Authority::Gateway, now)?;
    authority(&directory, plan, Authority::Device, now)?;
    authority(&directory, plan, Authority::Operator, now)?;
    let root = offline_key(&directory.fleet_root_key(), password)?;
    let backup = offline_key(&directory.fleet_backup_key(), password)?;
    let pins = Pins { root: root.public_key().fingerprint(), backup: backup.public_key().fingerprint() };
    fleet_file(&directory, plan, pins, &root, gateway_ca.certificate())?;
    let life_secs = Config::default().certificates.server_secs;
    let (credential, _) = server_certificate::load_or_issue(&directory, life_secs, now)?;
    database(&directory, plan, now).await?;
    directory::write_new(&directory.config(), DEFAULT_TEXT.as_bytes(), Access::Private)?;
    Ok(Report { directory, fleet: plan.fleet.clone(), pins, server_not_after: credential.not_after() })
}

fn check_names(names: &[String]) -> Result<(), InitError> {
    if names.is_empty() || names.len() > GATEWAYS_MAX {
        return Err(InitError::Name(format!("a gateway has from 1 to {GATEWAYS_MAX} names, not {}", names.len())));
    }
    for name in names {
        let is_name = rustls::pki_types::ServerName::try_from(name.as_str()).is_ok();
        if !is_name || name.len() > HOST_BYTES_MAX || name.contains(char::is_uppercase) {
            let why = format!("{name:?} is neither a DNS name in lower case nor an IP address");
            return Err(InitError::Name(why));
        }
    }
    Ok(())
}

/// The CA as it is there, or a new one. The key is written first: a certificate without its key could not be made again.
fn authority(directory: &Directory, plan: &Plan, authority: Authority, now: UnixTime) -> Result<Issuer, InitError> {
    let (profile, what) = match authority {
        Authority::Device => (Profile::DeviceCa, "device"),
        Authority::Gateway => (Profile::GatewayCa, "gateway"),
        Authority::Operator => (Profile::OperatorCa, "operator"),
    };
    let path = directory.ca_key(authority);
    let unusable = |why: String| InitError::Unusable { path: path.clone(), why };
    let key = if path.exists() {
        KeyPair::from_pem(&directory::read_private(&path)?).map_err(|error| unusable(error.to_string()))?
    } else {
        let key = KeyPair::generate()?;
        directory::write_new(&path, key.to_pem()?.as_bytes(), Access::Private)?;
        key
    };
    let path = directory.ca_certificate(authority);
    if path.exists() {
        let text = String::from_utf8(directory::read_public(&path)?).unwrap_or_default();
        let der = pem::read_certificates(&text).ok().and_then(|found| found.into_iter().next()).unwrap_or_default();
        return Issuer::open(profile, der, key).map_err(|error| unusable(error.to_string()));
    }
    let issuer = Issuer::create(profile, &format!("Muster {} {what} CA", plan.fleet), key, now)?;
    let text = pem::write_certificates(&[issuer.certificate()]);
    directory::write_new(&path, text.as_bytes(), Access::Public)?;
    Ok(issuer)
}

/// The fleet key as it is there, or a new one, encrypted.
fn offline_key(path: &std::path::Path, password: &Password) -> Result<KeyPair, InitError> {
    if path.exists() {
        let text = directory::read_private(path)?;
        return KeyPair::from_encrypted_pem(&text, password.as_bytes())
            .map_err(|error| InitError::Unusable { path: path.to_owned(), why: error.to_string() });
    }
    let key = KeyPair::generate()?;
    directory::write_new(path, key.to_encrypted_pem(password.as_bytes())?.as_bytes(), Access::Private)?;
    Ok(key)
}

/// Pins and the first trust bundle.
fn fleet_file(
    directory: &Directory,
    plan: &Plan,
    pins: Pins,
    root: &KeyPair,
    gateway_ca: &[u8],
) -> Result<(), InitError> {
    let path = directory.fleet();
    let mut bundle = TrustBundle {
        fleet: plan.fleet.clone(),
        number: 1,
        // One fits the room for three.
        gateway_cas: std::iter::once(gateway_ca).collect(),
        gateways: Default::default(),
        policy: Policy::default(),
        next_pins: None,
    };
    for name in &plan.names {
        let host = name.as_str().try_into().map_err(|_| InitError::Name(format!("{name:?} is too long")))?;
        let address = GatewayAddress { host, mqtt_port: plan.mqtt_port, https_port: plan.https_port };
        bundle.gateways.push(address).map_err(|_| InitError::Name("too many names".to_owned()))?;
    }
    if path.exists() {
        return same_plan(directory, &bundle, &pins);
    }
    let body = postcard::to_stdvec(&bundle).map_err(|error| InitError::Bundle(error.to_string()))?;
    let signed = seal(Kind::TrustBundle, trust::VERSION, &body, &[root])
        .map_err(|error| InitError::Bundle(error.to_string()))?;
    let mut bytes = Vec::with_capacity(trust::PINS_BYTES + signed.len());
    bytes.extend_from_slice(pins.root.as_bytes());
    bytes.extend_from_slice(pins.backup.as_bytes());
    bytes.extend_from_slice(&signed);
    read_fleet_file(&bytes).map_err(|code: Code| InitError::Bundle(code.to_string()))?;
    Ok(directory::write_new(&path, &bytes, Access::Public)?)
}

fn same_plan(directory: &Directory, wanted: &TrustBundle<'_>, pins: &Pins) -> Result<(), InitError> {
    let path = directory.fleet();
    let bytes = directory::read_public(&path)?;
    let unusable = |why: &str| InitError::Unusable { path: path.clone(), why: why.to_owned() };
    let found = read_fleet_file(&bytes).map_err(|code| unusable(code.text()))?;
    if found.pins() != pins {
        return Err(unusable("it is pinned to other keys than those in offline/"));
    }
    let found = found.bundle();
    if found.fleet == wanted.fleet && found.gateways == wanted.gateways {
        return Ok(());
    }
    let names = found.gateways.iter().map(|at| format!("{} (ports {}, {})", at.host, at.mqtt_port, at.https_port));
    Err(InitError::OtherPlan {
        directory: directory.root().to_owned(),
        fleet: found.fleet.clone(),
        names: names.collect::<Vec<_>>().join(", "),
    })
}

async fn database(directory: &Directory, plan: &Plan, now: UnixTime) -> Result<(), InitError> {
    let store = SqliteStore::open(directory.root())?;
    let head = store.audit_head().await?;
    if head.seq == 0 {
        let initialised = AuditEvent::new(now, AuditKind::GatewayInitialised, Actor::Local)
            .detail("fleet", &plan.fleet)
            .detail("names", plan.names.join(", "));
        let published = AuditEvent::new(now, AuditKind::TrustPublished, Actor::Local).detail("number", 1);
        let changes = [initialised, published].map(|event| Change::Audit(Box::new(event)));
        apply_until_known(&store, Transaction::new(changes.into())).await?;
    }
    store.close().await;
    Ok(())
}
