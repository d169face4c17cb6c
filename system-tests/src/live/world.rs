//! A factory, a gateway and its devices, made with the real programs.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};
use muster_issuing::{Issuer, KeyPair, pem};
use muster_protocol::UnixTime;
use muster_protocol::pki::Profile;
use serde_json::Value;
use tempfile::TempDir;

use super::{Process, Said, bin_dir, until};

/// Where a gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// MQTT over mutual TLS.
    pub mqtt: u16,
    /// HTTPS.
    pub https: u16,
}

/// How a world is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many devices the factory makes.
    pub devices: u32,
    /// Names and addresses of the gateway.
    pub names: Vec<&'static str>,
    /// Where it listens; anywhere when absent, and then its trust bundle does not say where.
    pub ports: Option<Ports>,
    /// Lines put into gateway.toml in place of the lines with the same key.
    pub gateway_settings: Vec<(&'static str, String)>,
    /// Lines put into each agent.toml.
    pub agent_settings: String,
    /// Where the programs lie; beside the running one when absent.
    pub bin_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        // Quick enough for a test, slow enough to be real.
        let agent_settings = "[settings]\nbackoff_millis_min = 100\nbackoff_millis_max = 1000\n\
                              operator_backoff_millis_min = 500\noperator_backoff_millis_max = 1000\n\
                              trial_pause_millis = 200\nanswer_millis_max = 5000\n";
        let names = vec!["localhost", "127.0.0.1"];
        Self {
            devices: 1,
            names,
            ports: None,
            gateway_settings: Vec::new(),
            agent_settings: agent_settings.to_owned(),
            bin_dir: None,
        }
    }
}

/// A factory, a gateway and its devices in a folder that goes with this value.
#[derive(Debug)]
pub struct World {
    root: TempDir,
    bins: PathBuf,
    options: Options,
    gateway: Option<Process>,
    ports: Option<Ports>,
}

/// One device of the world.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its identity, as the factory made it.
    pub identity: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Its state.
    pub state: PathBuf,
}

/// The fleet of every world.
pub(super) const FLEET: &str = "acme";

impl World {
    /// An empty world: a folder and the programs.
    pub fn empty(options: Options) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("muster-").tempdir().context("cannot make a folder")?;
        let bins = options.bin_dir.clone().map_or_else(bin_dir, Ok)?;
        let ports = options.ports;
        let world = Self { root, bins, options, gateway: None, ports };
        let password = world.path("password");
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&password)?;
        std::io::Write::write_all(&mut file, b"correct horse battery staple\n")?;
        Ok(world)
    }

    /// A factory PKI, a running gateway that knows the factory, a batch of devices, and their imported manifest.
    pub fn new(options: Options) -> Result<Self> {
        let mut world = Self::empty(options)?;
        world.init_factory()?;
        world.init_gateway()?;
        world.start_gateway()?;
        world.gateway(&["factory-ca", "add", &world.text("pki/factory-ca.crt")])?;
        world.make_batch()?;
        world.gateway(&["manifest", "import", &world.text("batch/manifest.muster")])?;
        Ok(world)
    }

    /// A path inside the world.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The same, as text.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A program of the project.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bins.join(name));
        command.env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
        command
    }

    /// `pki init`.
    pub fn init_factory(&self) -> Result<()> {
        self.provision(&["pki", "init", "--dir", &self.text("pki"), "--password-file", &self.text("password")])?
            .done()?;
        Ok(())
    }

    /// `init`, with this world's settings.
    pub fn init_gateway(&self) -> Result<()> {
        let mut command = self.program("muster-gateway");
        command.args(["init", "--dir", &self.text("gateway"), "--fleet", FLEET]);
        command.args(self.options.names.iter().flat_map(|name| ["--name", name]));
        command.args(["--password-file", &self.text("password")]);
        if let Some(Ports { mqtt, https }) = self.ports {
            command.args(["--mqtt-port", &mqtt.to_string(), "--https-port", &https.to_string()]);
        }
        Said::by(&mut command)?.done()?;
        let path = self.path("gateway/gateway.toml");
        let mut text = fs::read_to_string(&path)?;
        for (key, value) in &self.options.gateway_settings {
            text = with_setting(&text, key, value)?;
        }
        fs::write(&path, text)?;
        Ok(())
    }

    /// Starts the gateway, on the ports that it had before if it ran before, and waits until it is ready.
    pub fn start_gateway(&mut self) -> Result<Ports> {
        let at = |port: Option<u16>| format!("127.0.0.1:{}", port.unwrap_or(0));
        let mut command = self.program("muster-gateway");
        command.args(["run", "--dir", &self.text("gateway")]);
        command.args(["--mqtt-listen", &at(self.ports.map(|ports| ports.mqtt))]);
        command.args(["--https-listen", &at(self.ports.map(|ports| ports.https))]);
        let mut process = Process::start(&mut command, "muster-gateway", &self.path("gateway.log"))?;
        let ports = process.line("ready", ready)?;
        self.gateway = Some(process);
        self.ports = Some(ports);
        Ok(ports)
    }

    /// The running gateway.
    pub fn running_gateway(&mut self) -> Result<&mut Process> {
        self.gateway.as_mut().context("the gateway does not run")
    }

    /// SIGKILL for the gateway.
    pub fn kill_gateway(&mut self) -> Result<()> {
        self.gateway.take().context("the gateway does not run")?.kill()
    }

    /// SIGTERM for the gateway; waits for its end.
    pub fn stop_gateway(&mut self) -> Result<()> {
        let status = self.gateway.take().context("the gateway does not run")?.stop()?;
        if !status.success() {
            bail!("the gateway ended with {status}");
        }
        Ok(())
    }

    /// Where the gateway listens.
    pub fn ports(&self) -> Result<Ports> {
        self.ports.context("the gateway has not run")
    }

    /// `batch make` for this world's devices.
    pub fn make_batch(&self) -> Result<()> {
        let gateway = format!("localhost:{}", self.ports()?.mqtt);
        let count = self.options.devices.to_string();
        let (pki, out, fleet) = (self.text("pki"), self.text("batch"), self.text("gateway/fleet.muster"));
        let arguments = [
            "batch",
            "make",
            "--pki",
            &pki,
            "--count",
            &count,
            "--out",
            &out,
            "--product",
            "lamp",
            "--fleet",
            &fleet,
            "--gateway",
            &gateway,
        ];
        self.provision(&arguments)?.done()?;
        Ok(())
    }

    /// Runs `muster-provision` to its end.
    pub fn provision(&self, arguments: &[&str]) -> Result<Said> {
        Said::by(self.program("muster-provision").args(arguments))
    }

    /// Runs a command of `muster-gateway` on this world's gateway, to its end.
    pub fn gateway_says(&self, arguments: &[&str]) -> Result<Said> {
        Said::by(self.program("muster-gateway").args(arguments).args(["--dir", &self.text("gateway"), "--json"]))
    }

    /// The same, and its JSON; fails unless the exit code is 0.
    pub fn gateway(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.gateway_says(arguments)?.done().with_context(|| format!("muster-gateway {arguments:?}"))?;
        if said.out.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&said.out).with_context(|| format!("muster-gateway {arguments:?} said {}", said.out))
    }

    /// The device with this number, from 0, with a configuration for its agent.
    pub fn device(&self, index: u32) -> Result<Device> {
        let id = format!("lamp-{:06}", index + 1);
        let identity = self.path(&format!("batch/{id}"));
        let state = self.path(&format!("state/{id}"));
        let config = self.path(&format!("{id}.toml"));
        if !config.exists() {
            let socket = self.path(&format!("{id}.sock"));
            let text = format!(
                "state_dir = {state:?}\n[identity]\ndir = {identity:?}\n[telemetry]\ninterval_secs = 1\n\
                 [local_api]\nsocket = {socket:?}\n{}",
                self.options.agent_settings
            );
            fs::write(&config, text)?;
        }
        Ok(Device { id, identity, config, state })
    }

    /// Changes a setting of gateway.toml and has the running gateway take it over.
    pub fn reload_gateway(&mut self, key: &str, value: &str) -> Result<()> {
        let path = self.path("gateway/gateway.toml");
        let text = with_setting(&fs::read_to_string(&path)?, key, value)?;
        fs::write(&path, text)?;
        let process = self.running_gateway()?;
        process.signal("HUP")?;
        process.line("reloaded", |line| line.starts_with("reloaded").then_some(()))
    }

    /// Makes a new gateway CA and a trust bundle that knows it alone, signs it with the fleet root, and has the running
    /// gateway take both over: it goes on with a server certificate of the new CA.
    pub fn replace_gateway_ca(&mut self) -> Result<()> {
        let now = UnixTime(UNIX_EPOCH.elapsed()?.as_secs());
        let issuer = Issuer::create(Profile::GatewayCa, "The next gateway CA", KeyPair::generate()?, now)?;
        let certificate = pem::write_certificates(&[issuer.certificate()]);
        fs::write(self.path("gateway/ca/gateway-ca.key"), issuer.key().to_pem()?.as_bytes())?;
        fs::write(self.path("gateway/ca/gateway-ca.crt"), &certificate)?;
        let (in_force, next) = (self.text("gateway/fleet.muster"), self.text("next"));
        self.provision(&["fleet", "draft", &in_force, "--out", &next])?.done()?;
        fs::write(self.path("next/gateway-ca-1.crt"), &certificate)?;
        let (draft, key) = (self.text("next/draft.toml"), self.text("gateway/offline/fleet-root.key"));
        let (signed, password) = (self.text("next/fleet.muster"), self.text("password"));
        let sign = ["fleet", "sign", &draft, "--fleet", &in_force, "--key", &key, "--out", &signed];
        self.provision(&[&sign[..], &["--password-file", &password]].concat())?.done()?;
        fs::copy(&signed, &in_force)?;
        let process = self.running_gateway()?;
        process.signal("HUP")?;
        process.line("reloaded", |line| line.starts_with("reloaded").then_some(()))
    }

    /// What a device's own agent says of itself.
    pub fn agent_status(&self, device: &Device) -> Result<Value> {
        let said = Said::by(self.program("muster-agent").args(["status", "--json", "--config"]).arg(&device.config))?;
        serde_json::from_str(&said.out).with_context(|| format!("muster-agent status said {}{}", said.out, said.err))
    }

    /// Starts a device's agent.
    pub fn start_agent(&self, device: &Device) -> Result<Process> {
        let mut command = self.program("muster-agent");
        command.arg("run").arg("--config").arg(&device.config).env("RUST_LOG", "info");
        Process::start(&mut command, &device.id, &self.path(&format!("{}.log", device.id)))
    }

    /// What the gateway says of a device.
    pub fn show(&self, device: &Device) -> Result<Value> {
        self.gateway(&["device", "show", &device.id])
    }

    /// Waits until the gateway shows the device in this standing.
    pub fn wait_standing(&self, device: &Device, standing: &str) -> Result<Value> {
        until(&format!("{} {standing}", device.id), || {
            let shown = self.show(device)?;
            Ok((shown["standing"] == standing).then_some(shown))
        })
        .with_context(|| {
            format!("now: {}\n{}", self.show(device).unwrap_or_default(), self.log_tail(&format!("{}.log", device.id)))
        })
    }

    /// The end of a log file of this world.
    #[must_use]
    pub fn log_tail(&self, name: &str) -> String {
        let text = fs::read(self.path(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
    }

    /// Keeps the folder when this value goes; its path comes back.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.root.disable_cleanup(true);
        self.root.path().to_owned()
    }

    /// Where the programs lie.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bins
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

/// `ready mqtt=ADDR:PORT https=ADDR:PORT`.
fn ready(line: &str) -> Option<Ports> {
    let line = line.strip_prefix("ready ")?;
    let port = |name: &str| {
        let address = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
        address.rsplit_once(':')?.1.parse().ok()
    };
    Some(Ports { mqtt: port("mqtt=")?, https: port("https=")? })
}

/// Replaces the value of `key = …`, wherever it stands in the file.
fn with_setting(text: &str, key: &str, value: &str) -> Result<String> {
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let is_key = line.trim_start_matches("# ").split('=').next().is_some_and(|name| name.trim() == key);
            if is_key && line.contains('=') && !found {
                found = true;
                format!("{key} = {value}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    if !found {
        bail!("gateway.toml has no setting {key}");
    }
    Ok(lines.join("\n") + "\n")
}
