//! How a command reaches the gateway: through the admin socket of the running one, or by opening the directory itself
//! when it is stopped. Either way the same operations answer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_terminal::Failure;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::caller::Caller;
use super::operations::{Installation, Operations};
use super::request::Request;
use super::wire::{Answered, Asked, VERSION};
use crate::config::Config;
use crate::directory::{Directory, DirectoryLock};
use crate::issuer::{Authorities, Fleet};
use crate::registrar::{Context, NoSessions, Registrars};
use crate::store::SqliteStore;

/// How long an answer may take: a manifest of a million devices takes minutes.
const ANSWER_DEADLINE: Duration = Duration::from_secs(900);

/// A gateway that answers, running or stopped.
pub struct Client(Way);

enum Way {
    Running(BufReader<UnixStream>),
    Stopped(Box<Stopped>),
}

/// The directory, opened for one command.
struct Stopped {
    runtime: Runtime,
    operations: Operations<SqliteStore>,
    _lock: DirectoryLock,
}

impl Client {
    /// Finds the gateway of a directory.
    ///
    /// # Errors
    /// When the directory is not set up, or another program has it and does not answer.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let directory = Directory::open(root)?;
        match UnixStream::connect(directory.admin_socket()) {
            Ok(stream) => Self::running(stream),
            Err(error) if is_nobody(&error) => {
                Stopped::open(&directory).map(|stopped| Self(Way::Stopped(stopped.into())))
            }
            Err(error) => Err(Failure::from_error("gateway.socket", "cannot reach the running gateway", &error)
                .hint(format!("run this as the owner of {}", directory.root().display()))),
        }
    }

    /// Whether a running gateway answers.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.0, Way::Running(_))
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// The operation's, or when the gateway went away.
    pub fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, Failure> {
        self.ask_with(request, Vec::new())
    }

    /// The same with a body.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn ask_with<T: DeserializeOwned>(&mut self, request: Request, body: Vec<u8>) -> Result<T, Failure> {
        let value = match &mut self.0 {
            Way::Running(stream) => over_socket(stream, request, &body)?,
            Way::Stopped(stopped) => {
                let caller = Caller::local();
                stopped.runtime.block_on(request.answer(&stopped.operations, &caller, body))?
            }
        };
        serde_json::from_value(value)
            .map_err(|error| Failure::from_error("gateway.answer", "the gateway's answer cannot be read", &error))
    }

    fn running(stream: UnixStream) -> Result<Self, Failure> {
        stream
            .set_read_timeout(Some(ANSWER_DEADLINE))
            .map_err(|error| Failure::from_error("gateway.socket", "cannot reach the running gateway", &error))?;
        Ok(Self(Way::Running(BufReader::new(stream))))
    }
}

/// Nobody listens: there is no socket, or it was left behind by a gateway that was killed.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn over_socket(stream: &mut BufReader<UnixStream>, request: Request, body: &[u8]) -> Result<Value, Failure> {
    let gone = |error: io::Error| {
        Failure::from_error("gateway.socket", "the running gateway did not answer", &error)
            .hint("see its log; whether the act was done is shown by device show or audit tail")
    };
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let asked = Asked { v: VERSION, request, body_bytes };
    let mut line = serde_json::to_vec(&asked).map_err(|error| gone(error.into()))?;
    line.push(b'\n');
    // A gateway that refuses early closes while the body is still on its way; its answer says why.
    let sent = stream.get_mut().write_all(&line).and_then(|()| stream.get_mut().write_all(body));
    let mut answer = String::new();
    match (stream.read_line(&mut answer), sent) {
        (Ok(0), Err(error)) | (Err(error), _) => return Err(gone(error)),
        (Ok(0), Ok(())) => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
        (Ok(_), _) => {}
    }
    let answered: Answered = serde_json::from_str(&answer).map_err(|error| gone(error.into()))?;
    match answered.error {
        Some(error) => Err(error.into()),
        None => Ok(answered.answer.unwrap_or_default()),
    }
}

impl Stopped {
    fn open(directory: &Directory) -> Result<Self, Failure> {
        let lock = directory.lock()?;
        let config = Config::load(directory)?;
        let authorities = Authorities::load(directory)?;
        let fleet = Fleet::load(directory)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::from_error("runtime.failed", "cannot start", &error))?;
        let store = SqliteStore::open(directory.root())
            .map_err(|error| Failure::from_error("store.open", "cannot open the database", &error))?;
        let context = Context {
            fleet: fleet.id,
            bundle_number: fleet.bundle_number,
            bundle: fleet.bundle,
            ldevid_secs: config.certificates.device_secs,
        };
        let installation = Installation {
            device_ca: authorities.device.certificate().to_vec(),
            gateway_ca: authorities.gateway_certificate,
            operator_ca: authorities.operator.certificate().to_vec(),
            server: authorities.server_certificate,
            ..Installation::default()
        };
        let issuer = Arc::new(authorities.device);
        let registrars = Registrars::new(Arc::new(store), Some(issuer), Arc::new(NoSessions), context);
        let operations =
            Operations::new(Arc::new(registrars), Arc::new(authorities.operator), config.certificates, installation);
        Ok(Self { runtime, operations, _lock: lock })
    }
}
