//! The command line of `muster-agent`.
//!
//! | file | command |
//! |---|---|
//! | `run` | `run`: the daemon |
//! | `enrol` | `enrol`: until the device has its certificate |
//! | `status` | `status`: of a running agent, or from its files |
//! | `rotate` | `rotate`: a new key and certificate |
//! | `retire` | `retire`: gives the identity up for good |
//! | `swarm` | `swarm`: many agents in one process, for tests and benches |
//! | `once` | an agent that runs as long as a command |
//! | `view` | a status as a command sees it, wherever it came from |

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use muster_terminal::{Exit, Failure, Output};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use crate::agent::AgentError;
use crate::config::{Config, ConfigError, DEFAULT_PATH, LogFormat};
use crate::key::KeyError;

mod enrol;
mod once;
mod retire;
mod rotate;
mod run;
mod status;
mod swarm;
mod view;

/// Keeps a device's identity, enrols and rotates its certificates, and connects it to its fleet's gateway
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, arg_required_else_help = true)]
pub struct Agent {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Run the agent until it is told to stop
    Run(ConfigFile),
    /// Enrol: run until the device has a certificate that the gateway has confirmed
    Enrol(enrol::Enrol),
    /// Show the device's state, its certificates and the last refusal
    Status(status::Ask),
    /// Replace the device's key and certificate now
    Rotate(rotate::Rotate),
    /// Give the device's identity up for good
    Retire(retire::Retire),
    /// Run many agents in one process, for tests and measurements
    Swarm(swarm::Swarm),
}

/// `--config`.
#[derive(Args, Debug)]
struct ConfigFile {
    /// The agent's settings
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

impl ConfigFile {
    fn read(&self) -> Result<Config, Failure> {
        Config::read(&self.config).map_err(|error| match &error {
            ConfigError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Failure::not_found("config.missing", error.to_string())
                    .hint("name the file with --config; agent.toml in the sources is an example with every default")
            }
            ConfigError::Unreadable { .. } => Failure::from_error("config.unreadable", "", &error),
            _ => Failure::usage("config.invalid", error.to_string()),
        })
    }
}

/// Does what the command line asks.
pub fn act(command: Agent, output: &Output) -> Result<Exit, Failure> {
    match command.act {
        Act::Run(config) => run::run(&config.read()?, output),
        Act::Enrol(command) => command.run(output),
        Act::Status(command) => command.run(output),
        Act::Rotate(command) => command.run(output),
        Act::Retire(command) => command.run(output),
        Act::Swarm(command) => command.run(output),
    }
}

/// One thread: an agent waits most of its life.
fn small_runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::from_error("runtime.failed", "cannot start", &error))
}

/// Starts logging to stderr. `MUSTER_LOG` stands above the filter given here.
fn log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let asked = std::env::var("MUSTER_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::builder()
        .parse(&asked)
        .map_err(|error| Failure::usage("log.filter", format!("{asked:?} is no log filter: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, in a test, keeps the first.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match &error {
            AgentError::Running { path } => Failure::refused("agent.running", error.to_string())
                .hint(format!("stop it, or ask it through its socket; {} belongs to one agent", path.display())),
            AgentError::Key(key) => key_failure(key),
            AgentError::Identity(identity) => Failure::from_error("identity.unusable", "", identity).hint(
                "the identity folder needs idevid.crt, idevid.key and fleet.muster, as the factory's tool makes them",
            ),
            AgentError::State { path, .. } => Failure::from_error("state.unusable", "", &error)
                .hint(format!("make {} writable for the agent's user", path.display())),
        }
    }
}

fn key_failure(error: &KeyError) -> Failure {
    Failure::from_error("key.unusable", "", error).hint(error.hint())
}

/// The refusal that a command ends with: a rule's, since trying again changes nothing, or a failure that may pass.
fn refused(refusal: &view::Refusal) -> Failure {
    let failure = if refusal.asks_operator() { Failure::refused } else { Failure::failed };
    failure(refusal.code.clone(), refusal.message.clone()).hint(refusal.hint.clone())
}

/// A handle's status as a command sees it.
fn seen(status: &Arc<crate::agent::Status>) -> view::Seen {
    view::Seen::of(status)
}
