//! An emulated board as a process: started with its flash file, listened to, its power cut by killing it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::monitor::{NETWORK, PACER};
use super::{Monitor, image, target_dir};
use crate::live::Process;

/// A board: what stays when its power is off.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its flash, a file of the host.
    pub flash: PathBuf,
    /// Where what it says is kept.
    pub log: PathBuf,
    /// The image; the one that tests run when absent.
    pub image: Option<PathBuf>,
    /// Words `name=value` for the firmware.
    pub arguments: Vec<String>,
    /// What its serial line is.
    pub serial: Serial,
    /// How its time goes.
    pub time: Time,
}

/// How the time of an emulated board goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Time {
    /// As the host's.
    Host,
    /// One instruction is one nanosecond; asleep, it goes as the host's.
    Instructions,
    /// One instruction is one nanosecond; asleep, it goes in steps, as long as the [`Monitor`] says, without the host
    /// waiting for any. It begins with [`STEP`].
    Steps,
}

/// A step that is shorter, on the host, than the time that a board would have waited.
pub const STEP: Duration = Duration::from_micros(50);

/// The other end of a board's serial line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serial {
    /// Nothing.
    Unconnected,
    /// A TCP port on loopback that the emulator listens on.
    Tcp(u16),
}

impl Serial {
    /// A port that was free a moment ago.
    pub fn any_port() -> Result<Self> {
        Ok(Self::Tcp(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()))
    }
}

impl Board {
    /// A board with its flash in this file.
    #[must_use]
    pub fn new(flash: PathBuf) -> Self {
        let log = flash.with_extension("log");
        let (image, arguments) = (None, Vec::new());
        Self { flash, log, image, arguments, serial: Serial::Unconnected, time: Time::Host }
    }

    /// The same with one more argument for the firmware.
    #[must_use]
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Switches the power on.
    pub fn start(&self) -> Result<EmulatedBoard> {
        let mut command = emulator()?;
        command.args(["-M", "mps2-an386", "-display", "none", "-monitor", "none"]);
        match self.serial {
            Serial::Unconnected => command.args(["-serial", "null"]),
            Serial::Tcp(port) => command.args(["-serial", &format!("tcp:127.0.0.1:{port},server=on,wait=off")]),
        };
        command.args(["-chardev", "stdio,id=console,signal=off", "-semihosting-config"]);
        let mut semihosting = "enable=on,target=native,chardev=console,arg=firmware".to_owned();
        for argument in [format!("flash={}", self.flash.display())].iter().chain(&self.arguments) {
            // A comma would begin the next of the emulator's own words.
            semihosting += &format!(",arg={}", argument.replace(',', ",,"));
        }
        command.arg(semihosting);
        let line = self.flash.with_extension("qmp");
        // The line of the start before, which nobody listens on any more.
        let _ = std::fs::remove_file(&line);
        command.args(["-nic", &format!("user,model=lan9118,id={NETWORK}")]);
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", line.display())]);
        match self.time {
            Time::Host => {}
            Time::Instructions => drop(command.args(["-icount", "shift=0"])),
            Time::Steps => {
                // A board asleep leaps to its next timer. The pacer, a filter that gathers frames and wakes the emulator to
                // deliver them, is a timer: it makes steps of the leaps. (Without it leaps are made twice.)
                let pacer = format!("filter-buffer,id={PACER},netdev={NETWORK},interval={}", STEP.as_micros());
                command.args(["-icount", "shift=0,sleep=off", "-object", &pacer]);
            }
        }
        command.arg("-kernel").arg(self.image.clone().map_or_else(image, Ok)?);
        let name = self.flash.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let process = Process::start(&mut command, &name, &self.log)?;
        Ok(EmulatedBoard { process, line, uptime_millis: 0 })
    }
}

/// A board with its power on. Dropping it cuts the power.
#[derive(Debug)]
pub struct EmulatedBoard {
    process: Process,
    line: PathBuf,
    uptime_millis: u64,
}

impl EmulatedBoard {
    /// Waits for a line of this word, and gives what follows it.
    pub fn says(&mut self, word: &str) -> Result<String> {
        self.says_one_of(&[word]).map(|(_, rest)| rest)
    }

    /// Waits for a line of any of these words, and gives the word and what follows it.
    pub fn says_one_of<'w>(&mut self, words: &[&'w str]) -> Result<(&'w str, String)> {
        let Self { process, uptime_millis, .. } = self;
        process.line(&words.join(" or "), |line| {
            let said = |word: &str| {
                let rest = line.strip_prefix(word)?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start().to_owned())
            };
            if let Some(millis) = said("measured.uptime_millis").and_then(|millis| millis.parse().ok()) {
                *uptime_millis = millis;
            }
            words.iter().find_map(|word| Some((*word, said(word)?)))
        })
    }

    /// The board's own time at the last line that was waited for, in milliseconds since its start.
    #[must_use]
    pub const fn uptime_millis(&self) -> u64 {
        self.uptime_millis
    }

    /// A line to the emulator.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::open(&self.line)
    }

    /// Waits for a line of this word, and gives the number that follows it.
    pub fn says_number(&mut self, word: &str) -> Result<u64> {
        let said = self.says(word)?;
        said.parse().with_context(|| format!("{word} {said}: no number"))
    }

    /// Whether the firmware still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Cuts the power now.
    pub fn cut_power(self) -> Result<()> {
        self.process.kill()
    }

    /// Waits until the firmware ends the emulation, and gives its exit status.
    pub fn ends(&mut self) -> Result<i32> {
        Ok(self.process.wait()?.code().unwrap_or(-1))
    }

    /// The end of what it said, for error messages.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

/// The emulator that is installed, or the one that `cargo xtask firmware` unpacked.
fn emulator() -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file()) {
        return Ok(Command::new(PROGRAM));
    }
    let folder = target_dir()?.join("qemu/usr");
    let program = folder.join("bin").join(PROGRAM);
    ensure!(program.is_file(), "there is no {PROGRAM}; get it first: cargo xtask firmware test");
    let mut command = Command::new(program);
    command.arg("-L").arg(folder.join("share/qemu"));
    Ok(command)
}

const PROGRAM: &str = "qemu-system-arm";
