//! A process of the live world: started, listened to, ended by its id, never left behind.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::PATIENCE;

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command to its end.
    pub fn by(command: &mut Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
        Ok(Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Fails unless the exit code is 0.
    pub fn done(self) -> Result<Self> {
        if self.code != 0 {
            bail!("exit code {}\n{}{}", self.code, self.out, self.err);
        }
        Ok(self)
    }
}

/// A running program. Both of its streams go, line by line, into a log file; its standard output can be waited on.
/// Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command`, appending what it says to `log`.
    pub fn start(command: &mut Command, name: &str, log: &Path) -> Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let file = open().with_context(|| format!("cannot write {}", log.display()))?;
        let mut copy = file.try_clone()?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(file))
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(copy, "{line}");
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, log: log.to_owned(), name: name.to_owned() })
    }

    /// The next line of standard output that `wanted` takes.
    pub fn line<T>(&mut self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let wait = give_up_at.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(wait) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{} did not say {what}; its log:\n{}", self.name, self.tail()),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it said {what}; its log:\n{}", self.name, self.tail())
                }
            }
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGKILL: the process gets no chance to tidy up.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal by name, as `TERM` or `HUP`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        Said::by(Command::new("kill").args(["-s", signal, &self.child.id().to_string()]))?.done().map(drop)
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > give_up_at {
                bail!("{} did not end; its log:\n{}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The end of its log, for error messages.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
