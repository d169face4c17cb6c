//! The command line of `muster-gateway`: noun and verb, the same nouns as the API and the pages.
//!
//! What a command does is one operation of [`crate::admin`], asked of the running gateway or of a stopped one's
//! directory; only `init` and `run` do more. Words for people are here, and nothing else is.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use muster_protocol::DeviceId;
use muster_protocol::registrar::Reason;
use muster_terminal::{Exit, Failure, Output};

use crate::admin::client::Client;

mod audit;
mod device;
mod factory_ca;
mod identity;
mod init;
mod manifest;
mod operator;
mod run;
mod service;
mod status;
mod table;

/// The Muster gateway: mTLS MQTT endpoint, registrar and issuing CA of a fleet
#[derive(Debug, Parser)]
#[command(name = "muster-gateway", version)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up a gateway: CAs, fleet keys, first trust bundle, database, settings
    Init(init::Init),
    /// Run the gateway
    Run(run::Run),
    /// Factory CAs: whose identities and manifests count
    #[command(subcommand)]
    FactoryCa(factory_ca::FactoryCa),
    /// Shipment manifests: which devices there are
    #[command(subcommand)]
    Manifest(manifest::Manifest),
    /// Devices of the fleet
    #[command(subcommand)]
    Device(device::Device),
    /// Back-end services and their rights
    #[command(subcommand)]
    Service(service::Service),
    /// People who operate the fleet
    #[command(subcommand)]
    Operator(operator::Operator),
    /// What happened, by whose hand
    #[command(subcommand)]
    Audit(audit::Audit),
    /// How the gateway is
    Status(status::Status),
}

impl CommandLine {
    /// Does what was asked.
    ///
    /// # Errors
    /// Why not, with its exit code.
    pub fn act(self, output: &Output) -> Result<Exit, Failure> {
        match self.command {
            Command::Init(command) => command.act(output),
            Command::Run(command) => command.act(output),
            Command::FactoryCa(command) => command.act(output),
            Command::Manifest(command) => command.act(output),
            Command::Device(command) => command.act(output),
            Command::Service(command) => command.act(output),
            Command::Operator(command) => command.act(output),
            Command::Audit(command) => command.act(output),
            Command::Status(command) => command.act(output),
        }
        .map(Exit::from)
    }
}

/// Which gateway.
#[derive(Args, Clone, Debug)]
struct Place {
    /// The gateway's directory, as init made it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Place {
    fn open(&self) -> Result<Client, Failure> {
        Client::open(&self.dir)
    }
}

/// Reads a name of a device, service or operator.
fn name(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|error| error.to_string())
}

/// Reads a reason; dashes are as good as underscores.
fn reason(text: &str) -> Result<Reason, String> {
    let names = Reason::ALL.map(Reason::name).join(", ");
    Reason::from_name(&text.replace('-', "_")).ok_or_else(|| format!("the reasons are {names}"))
}
