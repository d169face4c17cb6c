//! The firmware agent on Linux: the same library as on a microcontroller, with a file for the flash and the system's TCP.
//!
//! ```text
//! muster-host-board provision FLASH --identity DIR      writes a batch folder's identity into a new flash file
//! muster-host-board run FLASH [--telemetry-secs N] ...  a device's life, events on standard output
//! ```
//!
//! For tests and for looking at: the flash file is readable, keys and all.

mod app;
mod flash;
mod identity;
mod network;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use muster_agent_nostd::agent::{Agent, End, Memory, Options};
use muster_agent_nostd::platform::Clock;
use muster_agent_nostd::slots::{Slots, partition_bytes};
use muster_protocol::UnixTime;
use muster_protocol::device::Settings;
use rand_core::OsRng;

use crate::app::Program;
use crate::flash::FileFlash;
use crate::network::SystemNetwork;

/// The firmware agent on Linux.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a flash file with the identity of a batch folder in it.
    Provision {
        /// The flash file; must not exist.
        flash: PathBuf,
        /// A device's folder, as `muster-provision batch make` writes it.
        #[arg(long)]
        identity: PathBuf,
    },
    /// Runs the device on a flash file until it is retired or told to stop (SIGTERM). SIGUSR1 asks for a rotation.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// The flash file.
    flash: PathBuf,
    /// Seconds between two reports; 0 sends none.
    #[arg(long, default_value_t = 60)]
    telemetry_secs: u32,
    /// The date at the start, in seconds since 1970, instead of the system's; it runs on from there.
    #[arg(long, conflicts_with = "no_clock")]
    date: Option<u64>,
    /// A clock that shows what stands in a file: seconds since 1970, read anew at each look.
    #[arg(long, conflicts_with_all = ["date", "no_clock"])]
    date_file: Option<PathBuf>,
    /// A board without a clock.
    #[arg(long)]
    no_clock: bool,
    /// Resolves names by this file alone, lines of an address and a name, read anew for each connection.
    #[arg(long)]
    names: Option<PathBuf>,
    /// First and longest wait after a failed connection, in milliseconds.
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
    backoff_millis: Option<Vec<u64>>,
    /// First and longest wait when only an operator can help, in milliseconds.
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
    operator_backoff_millis: Option<Vec<u64>>,
    /// Wait between two trials of a candidate, in milliseconds.
    #[arg(long)]
    trial_pause_millis: Option<u64>,
    /// How long an answer may take, in milliseconds.
    #[arg(long)]
    answer_millis_max: Option<u64>,
    /// Ends the process in the middle of the flash write after this many words and erases.
    #[arg(long)]
    cut_after: Option<u64>,
}

fn main() -> Result<()> {
    match CommandLine::parse().command {
        Command::Provision { flash, identity } => provision(&flash, &identity),
        Command::Run(run) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(live(&run))
        }
    }
}

fn provision(flash: &Path, folder: &Path) -> Result<()> {
    let file = FileFlash::create(flash, partition_bytes::<FileFlash>() as usize)?;
    let mut slots = opened(file)?;
    identity::write(&mut slots, folder).with_context(|| format!("cannot take the identity in {}", folder.display()))
}

async fn live(run: &Run) -> Result<()> {
    let mut file = FileFlash::open(&run.flash)?;
    if let Some(steps) = run.cut_after {
        file.cut_after(steps);
    }
    let mut slots = opened(file)?;
    let mut program = Program::start()?;
    let agent = Agent {
        vault: &mut slots,
        network: &mut SystemNetwork { names: run.names.clone() },
        rng: &mut OsRng,
        clock: HostClock::start(run),
        app: &mut program,
        options: options(run),
    };
    let mut memory = Box::new(Memory::new());
    app::say(&["sizes memory=", &size_of::<Memory>().to_string()]);
    match agent.run(&mut memory).await {
        End::Stopped => Ok(()),
        End::Retired => {
            app::say(&["retired"]);
            Ok(())
        }
        other => bail!("the device cannot run: {other:?}"),
    }
}

fn opened(flash: FileFlash) -> Result<Slots<FileFlash>> {
    Slots::open(flash, 0).map_err(|error| anyhow::anyhow!("cannot use the flash file: {error:?}"))
}

fn options(run: &Run) -> Options {
    let mut options = Options { telemetry_secs: run.telemetry_secs, keep_alive_secs: 20, ..Options::new() };
    let Settings { backoff_millis_min, backoff_millis_max, .. } = &mut options.settings;
    if let Some([min, max]) = run.backoff_millis.as_deref() {
        (*backoff_millis_min, *backoff_millis_max) = (*min, *max);
    }
    if let Some([min, max]) = run.operator_backoff_millis.as_deref() {
        options.settings.operator_backoff_millis_min = *min;
        options.settings.operator_backoff_millis_max = *max;
    }
    let settings = &mut options.settings;
    settings.trial_pause_millis = run.trial_pause_millis.unwrap_or(settings.trial_pause_millis);
    settings.answer_millis_max = run.answer_millis_max.unwrap_or(settings.answer_millis_max);
    options
}

/// The system's clock, or one that was set wrongly.
struct HostClock {
    started: SystemTime,
    date: Option<u64>,
    file: Option<PathBuf>,
    none: bool,
}

impl HostClock {
    fn start(run: &Run) -> Self {
        Self { started: SystemTime::now(), date: run.date, file: run.date_file.clone(), none: run.no_clock }
    }
}

impl Clock for HostClock {
    fn civil(&mut self) -> Option<UnixTime> {
        if let Some(file) = &self.file {
            return std::fs::read_to_string(file).ok()?.trim().parse().ok().map(UnixTime);
        }
        let now = SystemTime::now();
        let date = match self.date {
            Some(date) => date.saturating_add(now.duration_since(self.started).ok()?.as_secs()),
            None => now.duration_since(UNIX_EPOCH).ok()?.as_secs(),
        };
        (!self.none).then_some(UnixTime(date))
    }
}
