//! `run`: the gateway as a process. Signals, the service manager, the log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use muster_terminal::{Failure, Format, OrFail as _, Output};
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::server::{Gateway, Options};

/// Runs the gateway until SIGTERM or SIGINT, which drain it; SIGHUP reloads
#[derive(Args, Clone, Debug)]
pub(super) struct Run {
    /// The gateway's directory, as init made it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen for MQTT, in the place of the setting mqtt.listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    mqtt_listen: Option<SocketAddr>,
    /// Where to listen for HTTPS, in the place of the setting https.listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    https_listen: Option<SocketAddr>,
    /// How the log on stderr is written; RUST_LOG says what is in it
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl Run {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        start_log(self.log_format)?;
        let options = Options { directory: self.dir, mqtt_listen: self.mqtt_listen, https_listen: self.https_listen };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .or_fail("runtime.failed", "cannot start")?;
        runtime.block_on(serve(&options, output))
    }
}

async fn serve(options: &Options, output: &Output) -> Result<(), Failure> {
    // Before anything is started: a signal that comes early must not kill.
    let listen = |kind| signal(kind).or_fail("signal.failed", "cannot listen for signals");
    let (mut term, mut int, mut hup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    let gateway = Gateway::start(options).await?;
    let (mqtt, https) = (gateway.mqtt(), gateway.https());
    say(output, json!({ "event": "ready", "mqtt": mqtt, "https": https }), format!("ready mqtt={mqtt} https={https}"))?;
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {mqtt} (MQTT) and {https} (HTTPS)"))]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            _ = hup.recv() => reload(&gateway, output),
            _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
    tell(&[NotifyState::Stopping]);
    tokio::select! {
        () = gateway.drain() => {}
        // Twice means now.
        _ = term.recv() => return Err(Failure::failed("gateway.interrupted", "stopped while draining")),
        _ = int.recv() => return Err(Failure::failed("gateway.interrupted", "stopped while draining")),
    }
    Ok(())
}

/// One line on stdout, for whoever started the gateway and waits.
fn say(output: &Output, record: Value, line: String) -> Result<(), Failure> {
    match output.format() {
        Format::Text => output.data(line),
        Format::Json => output.record(record, || line),
    }
}

fn reload(gateway: &Gateway, output: &Output) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
    match gateway.reload() {
        // A reader that is gone is no reason to stop.
        Ok(()) => drop(say(output, json!({ "event": "reloaded" }), "reloaded".to_owned())),
        Err(error) => {
            let failure = Failure::from(error);
            tracing::error!(code = failure.code, error = failure.message, "nothing was reloaded");
        }
    }
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Ticks twice as often as the service manager wants to hear of us; hardly ever when it does not.
fn watchdog() -> tokio::time::Interval {
    let every = sd_notify::watchdog_enabled().map_or(Duration::from_secs(86_400), |within| within / 2);
    tokio::time::interval(every.max(Duration::from_millis(10)))
}

fn start_log(format: LogFormat) -> Result<(), Failure> {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(wanted)
        .map_err(|error| Failure::usage("log.filter", format!("RUST_LOG cannot be read: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::failed("log.failed", error.to_string()))
}
