//! The gateway's own certificate on disk: read, made by the gateway CA when there is none that devices would accept, and
//! replaced when two thirds of its life are over.
//!
//! Key and certificate are two files, and a power cut can part them. Then they do not fit, and new ones are made.

use std::sync::Arc;
use std::time::Duration;

use muster_issuing::issuer::Validity;
use muster_issuing::{Issuer, KeyPair, pem};
use muster_protocol::pki::profile::{BACKDATE_SECS, Profile};
use muster_protocol::trust::read_fleet_file;
use muster_protocol::{Code, UnixTime};
use rustls::pki_types::PrivateKeyDer;
use tokio_util::sync::CancellationToken;

use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::clock::Clock;
use crate::directory::{self, Access, Authority, Directory, DirectoryError};
use crate::tls::{Credential, CredentialError, LiveCredential};
use crate::trail::Trail;

/// What the trust bundle says of the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announced {
    /// Names and addresses, each once.
    pub names: Vec<String>,
    /// Gateway CAs, DER.
    pub gateway_cas: Vec<Vec<u8>>,
}

/// Why there is no certificate that devices would accept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerCertificateError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The fleet file is not what its pins signed.
    #[error("fleet.muster: {0}")]
    Fleet(Code),
    /// The gateway CA's files are no CA.
    #[error("ca/gateway-ca.crt and .key are not a CA of this gateway: {0}")]
    Authority(String),
    /// The gateway CA could not make one.
    #[error("the gateway CA could not make a server certificate")]
    Issue(#[from] muster_issuing::IssueError),
    /// A key could not be made.
    #[error("no key could be made for the server certificate")]
    Key(#[from] muster_issuing::KeyError),
    /// What was made is no credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl From<ServerCertificateError> for muster_terminal::Failure {
    fn from(error: ServerCertificateError) -> Self {
        match error {
            ServerCertificateError::Directory(error) => error.into(),
            ServerCertificateError::Fleet(_) => {
                Self::from_error("directory.fleet", "", &error).hint("put fleet.muster back from a copy")
            }
            _ => Self::from_error("server.certificate", "", &error),
        }
    }
}

impl Announced {
    /// Reads the fleet file of a directory.
    ///
    /// # Errors
    /// When it is missing or its signature does not hold.
    pub fn load(directory: &Directory) -> Result<Self, ServerCertificateError> {
        let bytes = directory::read_public(&directory.fleet())?;
        let verified = read_fleet_file(&bytes).map_err(ServerCertificateError::Fleet)?;
        let bundle = verified.bundle();
        let mut names: Vec<String> = Vec::new();
        for gateway in &bundle.gateways {
            if !names.iter().any(|name| *name == *gateway.host) {
                names.push(gateway.host.to_string());
            }
        }
        Ok(Self { names, gateway_cas: bundle.gateway_cas.iter().map(|der| der.to_vec()).collect() })
    }
}

/// Where a credential came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It was on disk.
    Loaded,
    /// It was made now.
    Issued,
}

/// The credential of a directory: what is on disk if devices accept it and it is young enough, a new one otherwise.
///
/// # Errors
/// When there is none that devices would accept and none can be made.
pub fn load_or_issue(
    directory: &Directory,
    life_secs: u64,
    now: UnixTime,
) -> Result<(Credential, Origin), ServerCertificateError> {
    let announced = Announced::load(directory)?;
    let loaded = load(directory, &announced, now);
    match loaded {
        Ok(credential) if now < credential.renew_at() => return Ok((credential, Origin::Loaded)),
        _ => {}
    }
    match (issue(directory, &announced, life_secs, now), loaded) {
        (Ok(credential), _) => Ok((credential, Origin::Issued)),
        (Err(error), Ok(credential)) => {
            tracing::error!(%error, "the server certificate should be renewed and cannot be");
            Ok((credential, Origin::Loaded))
        }
        (Err(error), Err(_)) => Err(error),
    }
}

fn load(directory: &Directory, announced: &Announced, now: UnixTime) -> Result<Credential, ServerCertificateError> {
    let key = directory::read_private(&directory.server_key())?;
    let key = KeyPair::from_pem(&key)?;
    let chain = certificates(&directory.server_certificate())?;
    verify(&chain, &key, announced, now)
}

fn issue(
    directory: &Directory,
    announced: &Announced,
    life_secs: u64,
    now: UnixTime,
) -> Result<Credential, ServerCertificateError> {
    let authority = gateway_ca(directory)?;
    let key = KeyPair::generate()?;
    let validity =
        Validity { not_before: UnixTime(now.0.saturating_sub(BACKDATE_SECS)), not_after: now.plus_secs(life_secs) };
    let der = authority.issue_server_with(&announced.names, &key.public_key(), validity)?;
    let chain = [der];
    // Before anything is written: a certificate that devices would refuse must not take the place of one they accept.
    let credential = verify(&chain, &key, announced, now)?;
    directory::replace(&directory.server_key(), key.to_pem()?.as_bytes(), Access::Private)?;
    let text = pem::write_certificates(&chain);
    directory::replace(&directory.server_certificate(), text.as_bytes(), Access::Public)?;
    Ok(credential)
}

fn verify(
    chain: &[Vec<u8>],
    key: &KeyPair,
    announced: &Announced,
    now: UnixTime,
) -> Result<Credential, ServerCertificateError> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let cas: Vec<&[u8]> = announced.gateway_cas.iter().map(Vec::as_slice).collect();
    // rustls keeps its own copy of the key, in memory that it erases.
    let key = PrivateKeyDer::Pkcs8(key.to_der()?.to_vec().into());
    Ok(Credential::verify(&chain, &key, &cas, announced.names.iter().map(String::as_str), now)?)
}

fn gateway_ca(directory: &Directory) -> Result<Issuer, ServerCertificateError> {
    let unusable = |why: String| ServerCertificateError::Authority(why);
    let path = directory.ca_certificate(Authority::Gateway);
    let certificate = certificates(&path)?.into_iter().next().unwrap_or_default();
    let key = directory::read_private(&directory.ca_key(Authority::Gateway))?;
    let key = KeyPair::from_pem(&key).map_err(|error| unusable(error.to_string()))?;
    Issuer::open(Profile::GatewayCa, certificate, key).map_err(|error| unusable(error.to_string()))
}

fn certificates(path: &std::path::Path) -> Result<Vec<Vec<u8>>, ServerCertificateError> {
    let text = directory::read_public(path)?;
    let text = String::from_utf8(text).map_err(|_| ServerCertificateError::Authority("no PEM".to_owned()))?;
    pem::read_certificates(&text).map_err(|error| ServerCertificateError::Authority(error.to_string()))
}

/// Replaces the credential in time, for as long as the gateway runs.
pub struct Keeper {
    /// Where the files are.
    pub directory: Directory,
    /// What is in force.
    pub live: Arc<LiveCredential>,
    /// The clock.
    pub clock: Clock,
    /// The audit.
    pub trail: Trail,
}

impl Keeper {
    /// Reads or makes the credential and puts it in force.
    ///
    /// # Errors
    /// As [`load_or_issue`]; what was in force stays.
    pub fn refresh(&self, life_secs: u64) -> Result<(), ServerCertificateError> {
        let now = self.clock.now();
        let (credential, origin) = load_or_issue(&self.directory, life_secs, now)?;
        let serial = credential.serial().clone();
        let not_after = muster_terminal::time::rfc3339(credential.not_after().0);
        self.live.publish(credential);
        if origin == Origin::Issued {
            tracing::info!(%serial, not_after, "the gateway has a new server certificate");
            let event = AuditEvent::new(now, AuditKind::GatewayCertificate, Actor::Gateway).serial(&serial);
            self.trail.record(event.detail("not_after", not_after));
        }
        Ok(())
    }

    /// Looks once a minute whether it is time, until told to stop.
    pub async fn run(self: Arc<Self>, life_secs: impl Fn() -> u64, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if self.live.now().is_some_and(|credential| self.clock.now() < credential.renew_at()) {
                continue;
            }
            let (keeper, life_secs) = (Arc::clone(&self), life_secs());
            // Making a key and signing take a millisecond; the threads that serve are not kept.
            match tokio::task::spawn_blocking(move || keeper.refresh(life_secs)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the server certificate cannot be renewed"),
                Err(error) => tracing::error!(%error, "the renewal of the server certificate ended"),
            }
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(60);
