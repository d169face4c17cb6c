//! The emulator's own line (QMP, "QEMU Machine Protocol"): what a test does to a running board from outside of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::live::until;

/// Network cards and the helper that paces them, by the names that the command line gives them.
pub(super) const NETWORK: &str = "net0";
pub(super) const PACER: &str = "pacer";

/// A line to the emulator of one board.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects as soon as the emulator listens.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let stream = until("the emulator's line", || Ok(UnixStream::connect(path).ok()))?;
        stream.set_read_timeout(Some(crate::live::PATIENCE))?;
        let mut monitor = Self { lines: BufReader::new(stream) };
        monitor.answer("QMP").context("no greeting")?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Pulls the network cable out, or puts it back.
    pub fn plug_network(&mut self, plug: Plug) -> Result<()> {
        self.execute("set_link", &json!({ "name": NETWORK, "up": plug == Plug::In }))
    }

    /// From now on the board's time, while it waits, goes in steps of at most this, with a look at the network after each.
    /// A short step gives a peer on the host time to answer; with long ones hours take a moment. What the board waits for
    /// comes up to a step late, never early. Only of a board whose time goes in steps.
    pub fn step_time(&mut self, step: Duration) -> Result<()> {
        let step = json!(u32::try_from(step.as_micros())?);
        let value = json!({ "path": format!("/objects/{PACER}"), "property": "interval", "value": step });
        self.execute("qom-set", &value)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string();
        self.lines.get_mut().write_all(line.as_bytes())?;
        self.answer("return").with_context(|| line).map(drop)
    }

    /// The next line that has this; events in between are nobody's.
    fn answer(&mut self, wanted: &str) -> Result<Value> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                bail!("the emulator is gone");
            }
            let value: Value = serde_json::from_str(&line)?;
            if let Some(error) = value.get("error") {
                bail!("the emulator says {error}");
            }
            if let Some(answer) = value.get(wanted) {
                return Ok(answer.clone());
            }
        }
    }
}

/// Where the network cable is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plug {
    /// In its socket.
    In,
    /// Beside it.
    Out,
}
