//! The fleet that is measured, and what only Muster does: enrolment and rotation with real agents, revocation of devices
//! that are connected among many.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use muster_gateway::admin::DeviceFilter;
use muster_gateway::admin::client::Client;
use muster_gateway::admin::request::Request;
use muster_protocol::DeviceId;
use muster_protocol::registrar::Reason;
use muster_system_tests::live::{Options, Process, Said, World, until};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::client::{Credential, Dialer, Session};
use super::peer::Peer;
use super::process::Used;
use super::{Size, bare, idle, rounded};

/// A factory, a gateway, and as many devices as are asked for.
#[derive(Debug)]
pub(crate) struct Fleet {
    world: World,
    size: Size,
}

const SERVICE: &str = "bench";

impl Fleet {
    pub(crate) fn make(size: Size, bin_dir: Option<PathBuf>) -> Result<Self> {
        let world = World::new(Options { devices: size.devices, bin_dir, ..Options::default() })?;
        let out = world.text("services");
        world.gateway(&["service", "issue", SERVICE, "--subscribe", "devices/#", "--out", &out])?;
        Ok(Self { world, size })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    /// A gateway without a past; gives its process and its MQTT port.
    pub(crate) fn restart_gateway(&mut self) -> Result<(u32, u16)> {
        self.world.stop_gateway()?;
        let ports = self.world.start_gateway()?;
        Ok((self.world.running_gateway()?.id(), ports.mqtt))
    }

    pub(crate) fn gateway_ca(&self) -> Result<Arc<RootCertStore>> {
        Ok(Arc::new(bare::roots(&self.path("gateway/ca/gateway-ca.crt"))?))
    }

    /// Server certificate, its key, and the CAs of clients in one file.
    pub(crate) fn server_files(&self) -> Result<[PathBuf; 3]> {
        let cas = self.path("client-cas.crt");
        let ca = |name: &str| fs::read(self.path("gateway/ca").join(name));
        fs::write(&cas, [ca("device-ca.crt")?, ca("operator-ca.crt")?].concat())?;
        Ok([self.path("gateway/server.crt"), self.path("gateway/server.key"), cas])
    }

    /// What the agents saved, in the order of the devices' names.
    pub(crate) fn credentials(&self) -> Result<Vec<Credential>> {
        (1..=self.size.devices).map(|number| Credential::read(&self.path("saved"), &device(number))).collect()
    }

    pub(crate) fn service(&self) -> Result<Credential> {
        Credential::read(&self.path("services"), SERVICE)
    }

    /// All devices enrol: real agents in one process, which shares the machine with the gateway.
    pub(crate) fn enrol(&mut self) -> Result<Value> {
        let gateway = self.world.running_gateway()?.id();
        let before = Used::read(gateway)?;
        let said = Said::by(self.swarm(self.size.devices)?.arg("--once"))?.done()?;
        let summary: Value = serde_json::from_str(&said.out).context("the swarm's summary is no JSON")?;
        let cpu = Used::read(gateway)?.since(&before);
        Ok(json!({
            "devices": summary["enrolled"],
            "per_second": summary["per_second"],
            "p50_millis": summary["p50_millis"],
            "p99_millis": summary["p99_millis"],
            "gateway_cpu_us": rounded(cpu.as_secs_f64() * 1e6 / f64::from(self.size.devices)),
        }))
    }

    /// Some agents are told to rotate, one after the other as fast as the admin socket takes it.
    pub(crate) fn rotate(&mut self) -> Result<Value> {
        let count = self.size.rotations.min(self.size.devices);
        let mut swarm = Process::start(&mut self.swarm(count)?, "swarm", &self.path("swarm.log"))?;
        swarm.line("that all are connected", |line| line.contains("\"enrolled\"").then_some(()))?;
        let gateway = self.world.running_gateway()?.id();
        let mut client = Client::open(&self.path("gateway"))?;
        let old = serials(&mut client, count)?;
        let (begun, before) = (Instant::now(), Used::read(gateway)?);
        for number in 1..=count {
            let _: Value = client.ask(Request::DeviceRotate { device: DeviceId::new(&device(number))? })?;
        }
        let ordered = begun.elapsed();
        until("every device has a new certificate", || {
            let new = serials(&mut client, count)?;
            Ok(old.iter().zip(&new).all(|(old, new)| old.0 != new.0 && new.1 == "active").then_some(()))
        })?;
        let elapsed = begun.elapsed();
        let cpu = Used::read(gateway)?.since(&before);
        swarm.stop()?;
        Ok(json!({
            "devices": count,
            "per_second": rounded(f64::from(count) / elapsed.as_secs_f64()),
            "ordering_millis": millis(ordered),
            "elapsed_millis": millis(elapsed),
            "gateway_cpu_us": rounded(cpu.as_secs_f64() * 1e6 / f64::from(count)),
        }))
    }

    /// All devices are connected; some are revoked. The time runs from the operator's request to the DISCONNECT in the
    /// device's hands.
    pub(crate) fn revoke(&mut self, runtime: &Runtime, dialer: &Dialer, to: SocketAddr) -> Result<Value> {
        let process = self.world.running_gateway()?.id();
        let peer = Peer { name: "muster", version: String::new(), address: to, process, is_broker: true };
        let count = self.size.revocations.min(self.size.devices) as usize;
        let first = dialer.credentials.len() - count;
        let others = runtime.block_on(idle::hold(&peer, dialer, 0..first))?;
        let mut waiting: JoinSet<Result<(usize, Instant, Vec<u8>)>> = JoinSet::new();
        for (index, credential) in dialer.credentials.iter().enumerate().skip(first) {
            let tls = dialer.configuration(credential, super::client::Group::X25519)?;
            let session = runtime.block_on(Session::open(to, tls, &credential.client_id))?;
            waiting.spawn_on(disconnected(session, index), runtime.handle());
        }
        let mut client = Client::open(&self.path("gateway"))?;
        let mut asked = Vec::with_capacity(count);
        for credential in dialer.credentials.iter().skip(first) {
            asked.push(Instant::now());
            let device = DeviceId::new(&credential.client_id)?;
            let _: Value = client.ask(Request::DeviceRevoke { device, reason: Reason::KeyCompromise })?;
        }
        let answered = asked.first().map(Instant::elapsed).unwrap_or_default();
        let mut took = Vec::with_capacity(count);
        while let Some(done) = runtime.block_on(waiting.join_next()) {
            let (index, at, body) = done??;
            if !body.windows(14).any(|text| text == b"device.revoked") {
                bail!("a revoked device was disconnected with {body:02x?}");
            }
            took.push(at.duration_since(asked[index - first]));
        }
        drop(others);
        took.sort();
        let at = |percent: usize| (took.len() * percent).div_ceil(100).saturating_sub(1);
        let nth = |index: usize| rounded(took.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3);
        Ok(json!({
            "sessions": dialer.credentials.len(),
            "revoked": took.len(),
            "p50_millis": nth(at(50)),
            "p99_millis": nth(at(99)),
            "max_millis": nth(took.len().saturating_sub(1)),
            "per_second": rounded(count as f64 / answered.as_secs_f64()),
        }))
    }

    fn swarm(&self, count: u32) -> Result<Command> {
        let gateway = format!("127.0.0.1:{}", self.world.ports()?.mqtt);
        let mut command = self.world.program("muster-agent");
        command.args(["swarm", "--json", "--count", &count.to_string(), "--gateway", &gateway]);
        command.arg("--identities").arg(self.path("batch")).arg("--save").arg(self.path("saved"));
        Ok(command)
    }
}

async fn disconnected(mut session: Session, index: usize) -> Result<(usize, Instant, Vec<u8>)> {
    loop {
        let packet = session.packet().await?;
        if packet.head == 0xe0 {
            return Ok((index, Instant::now(), packet.body.to_vec()));
        }
    }
}

fn device(number: u32) -> String {
    format!("lamp-{number:06}")
}

/// Serial number and standing of the first devices.
fn serials(client: &mut Client, count: u32) -> Result<Vec<(Value, Value)>> {
    let filter = DeviceFilter { limit: Some(u16::try_from(count)?), ..DeviceFilter::default() };
    let mut rows: Value = client.ask(Request::DeviceList(filter))?;
    let rows = rows["items"].as_array_mut().context("a listing without items")?;
    Ok(rows.iter_mut().map(|row| (row["serial"].take(), row["standing"].take())).collect())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
