//! The loop: the device core on one side; key store, records, TLS, MQTT, clock and timers on the other.
//!
//! All input and output of the core happens here, and only here do the edges meet. Decisions are the core's: what to
//! connect with, when to wait, what a refusal means. [`Agent::run`] boots a core from the records as often as the core
//! asks for it, and that is the only recovery there is.
//!
//! | file | idea |
//! |---|---|
//! | `records` | what a core boots from |
//! | `life` | one core from its boot to its end |
//! | `link` | its connection |
//! | `dial` | one attempt to connect |
//! | `bundle` | the trust bundle from the open address |
//! | `request` | what others in this process may ask of a running agent |
//! | `programs`, `local` | what other programs publish and subscribe |
//! | `tell`, `status` | what a running agent says of itself |

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::device::Settings;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

mod bundle;
mod dial;
mod life;
mod link;
mod local;
mod programs;
mod records;
mod request;
mod status;
mod tell;

pub use local::Delivery;
pub use request::{Handle, Refusal, Subscription};
pub use status::{LastRefusal, SlotStatus, Status};

use crate::clock::Clock;
use crate::config::Config;
use crate::durable::{Disk, Durability, FileSystem as _};
use crate::identity::{Factory, IdentityError, IdentityPaths};
use crate::key::{FileKeyStore, KeyError, KeyStore};
use crate::slots::FileSlotStore;
use life::Ended;
use local::Local;
use request::{Answer, Request};

/// What one agent is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Keys and records.
    pub state_dir: PathBuf,
    /// What the factory made.
    pub identity: IdentityPaths,
    /// Time between two reports; `None` sends none.
    pub telemetry: Option<Duration>,
    /// Longest silence on an MQTT session.
    pub keep_alive: Duration,
    /// Patience.
    pub settings: Settings,
    /// How much care is taken with writes.
    pub durability: Durability,
}

impl From<&Config> for Setup {
    fn from(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            identity: config.identity.clone(),
            telemetry: config.telemetry,
            keep_alive: config.keep_alive,
            settings: config.settings,
            durability: Durability::PowerCut,
        }
    }
}

/// How an agent's run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Somebody asked it to stop.
    Stopped,
    /// The device is retired for good: there is nothing to run any more.
    Retired,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The factory's files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The records.
    #[error("cannot use the state folder {}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent has the state folder.
    #[error("another agent is running on {}", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
    },
}

/// One device's agent, ready to run.
pub struct Agent {
    setup: Setup,
    factory: Factory,
    keys: Arc<FileKeyStore>,
    records: FileSlotStore<Disk>,
    requests: mpsc::Receiver<Request>,
    handle: Handle,
    status: watch::Sender<Arc<Status>>,
    clock: Clock,
    /// What programs subscribed; outlives sessions and cores.
    local: Local,
    last_refusal: Option<LastRefusal>,
    /// Who waits for the retirement.
    retiring: Vec<Answer>,
    /// Held as long as the agent lives; the system lets go of it with the process, however that ends.
    _lock: File,
}

impl Agent {
    /// Reads what the factory made, opens the state folder and locks it.
    pub fn open(setup: Setup) -> Result<Self, AgentError> {
        let factory = Factory::read(&setup.identity)?;
        let disk = Disk::new(setup.durability);
        let failed = |source| AgentError::State { path: setup.state_dir.clone(), source };
        disk.create_folder(&setup.state_dir).map_err(failed)?;
        let lock = lock(&setup.state_dir)?;
        let keys = FileKeyStore::open(disk, &setup.state_dir.join(KEYS), &setup.identity.key)?;
        if *keys.idevid() != factory.public_key {
            return Err(IdentityError::OtherKey { path: setup.identity.certificate.clone() }.into());
        }
        let records = FileSlotStore::open(disk, &setup.state_dir.join(RECORDS)).map_err(failed)?;
        let (handle, requests) = Handle::new(factory.device());
        let (status, watch) = watch::channel(Arc::new(Status::starting(factory.device())));
        let handle = handle.with_status(watch);
        Ok(Self {
            local: Local::new(factory.device()),
            setup,
            factory,
            keys: Arc::new(keys),
            records,
            requests,
            handle,
            status,
            clock: Clock::start(),
            last_refusal: None,
            retiring: Vec::new(),
            _lock: lock,
        })
    }

    /// Talks to this agent once it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until somebody asks it to stop or the device is retired.
    pub async fn run(mut self) -> Result<End, AgentError> {
        let mut failures = 0_u32;
        loop {
            let booted = self.boot()?;
            match life::live(&mut self, booted).await {
                Ended::Stopped => return Ok(End::Stopped),
                Ended::Retired => return Ok(End::Retired),
                Ended::Restart { held } => {
                    failures = if held > RESTART_PAUSE_MAX { 0 } else { failures.saturating_add(1) };
                    let pause = RESTART_PAUSE_MIN.saturating_mul(1 << failures.min(6)).min(RESTART_PAUSE_MAX);
                    info!(event = "agent.restart", device = %self.factory.device(), pause_millis = pause.as_millis());
                    if self.pause(pause).await {
                        return Ok(End::Stopped);
                    }
                }
            }
        }
    }

    /// Reads records and keys. What cannot be read must not be taken for empty, so a failure here ends the run.
    fn boot(&self) -> Result<records::Booted, AgentError> {
        records::boot(self).inspect_err(|error| {
            error!(event = "agent.boot_failed", device = %self.factory.device(), error = %error);
        })
    }

    /// Waits; true when asked to stop meanwhile. Other requests go unanswered: there is nobody to ask.
    async fn pause(&mut self, pause: Duration) -> bool {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return false,
                request = self.requests.recv() => match request {
                    Some(Request::Stop) | None => return true,
                    Some(_) => {}
                },
            }
        }
    }
}

/// One agent per state folder: two would take each other's keys for spent.
fn lock(folder: &Path) -> Result<File, AgentError> {
    let failed = |source| AgentError::State { path: folder.to_owned(), source };
    let mut options = OpenOptions::new();
    let file =
        options.create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock")).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AgentError::Running { path: folder.to_owned() }),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Reads the status of an agent that does not run from its files.
pub fn status_from_files(setup: &Setup) -> Result<Status, AgentError> {
    records::status_from_files(setup)
}

/// Folder of the slots' keys, below the state folder.
pub const KEYS: &str = "keys";
/// Folder of the records, below the state folder.
pub const RECORDS: &str = "records";

const RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);
