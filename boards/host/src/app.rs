//! The board's own program: says what happens on standard output, echoes commands, hears signals.

use std::io::Write as _;

use anyhow::Result;
use muster_agent_nostd::agent::{App, Reply, Wish};
use muster_agent_nostd::fmt::Told;
use muster_agent_nostd::telemetry::Vitals;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that are wishes.
pub(crate) struct Program {
    stop: Signal,
    rotate: Signal,
    retire: Signal,
}

impl Program {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            stop: signal(SignalKind::terminate())?,
            rotate: signal(SignalKind::user_defined1())?,
            retire: signal(SignalKind::user_defined2())?,
        })
    }
}

impl App for Program {
    fn told(&mut self, told: Told) {
        say(&["measured.uptime_millis ", &embassy_time::Instant::now().as_millis().to_string()]);
        let mut line = String::new();
        told.write(&mut |piece| line.push_str(piece));
        say(&[&line]);
    }

    fn command(&mut self, name: &str, argument: &[u8], result: &mut [u8]) -> Reply {
        say(&["command ", name, " ", &String::from_utf8_lossy(argument)]);
        let length = argument.len().min(result.len());
        result[..length].copy_from_slice(&argument[..length]);
        match name {
            "echo" => Reply::Done(length),
            "fail" => Reply::Failed(length),
            _ => Reply::Unknown,
        }
    }

    fn vitals(&mut self) -> Vitals {
        Vitals { load_percent: 1, memory_used_bytes: 1, memory_total_bytes: 1 }
    }

    async fn wish(&mut self) -> Wish {
        tokio::select! {
            _ = self.stop.recv() => Wish::Stop,
            _ = self.rotate.recv() => Wish::Rotate,
            _ = self.retire.recv() => Wish::Retire,
        }
    }
}

/// One line on standard output.
pub(crate) fn say(parts: &[&str]) {
    let mut out = std::io::stdout().lock();
    for part in parts.iter().chain(&["\n"]) {
        let _ = out.write_all(part.as_bytes());
    }
    let _ = out.flush();
}
