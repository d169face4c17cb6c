//! The servers that are measured beside each other: Muster as it is, mosquitto, the bare one. Same certificates, same
//! demands.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context as _, Result};
use muster_system_tests::live::{Process, until};

use super::client::Group;
use super::fleet::Fleet;

pub(crate) const MUSTER: &str = "muster";
const MOSQUITTO: &str = "mosquitto";
const BARE: &str = "bare";

/// A running server.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: u32,
    /// Whether it routes messages.
    pub(crate) is_broker: bool,
}

impl Peer {
    pub(crate) fn speaks(&self, group: Group) -> bool {
        group != Group::Hybrid || self.name != MOSQUITTO
    }
}

/// All of them; they end with this value.
#[derive(Debug)]
pub(crate) struct Peers {
    muster: Peer,
    others: Vec<(Peer, Process)>,
}

impl Peers {
    pub(crate) fn start(fleet: &mut Fleet) -> Result<Self> {
        let (process, port) = fleet.restart_gateway()?;
        let version = format!("Muster {}", env!("CARGO_PKG_VERSION"));
        let muster = Peer { name: MUSTER, version, address: loopback(port), process, is_broker: true };
        Ok(Self { muster, others: vec![mosquitto(fleet)?, bare(fleet)?] })
    }

    pub(crate) fn all(&self) -> Vec<&Peer> {
        std::iter::once(&self.muster).chain(self.others.iter().map(|(peer, _)| peer)).collect()
    }

    pub(crate) const fn muster_address(&self) -> SocketAddr {
        self.muster.address
    }

    pub(crate) fn stop(self) {
        drop(self.others);
    }
}

fn mosquitto(fleet: &Fleet) -> Result<(Peer, Process)> {
    // Given back at once; nobody else on this machine is looking for a port of its own choice.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let [certificate, key, client_cas] = fleet.server_files()?.map(|path| path.display().to_string());
    // Certificates have no commonName, so the identity cannot be a user name here; everything else is as it comes.
    let text = format!(
        "user root\nallow_anonymous true\nlistener {port} 127.0.0.1\ncafile {client_cas}\ncertfile {certificate}\n\
         keyfile {key}\nrequire_certificate true\ntls_version tlsv1.3\n"
    );
    let path = fleet.path("mosquitto.conf");
    fs::write(&path, text)?;
    let program =
        ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].into_iter().find(|path| fs::metadata(path).is_ok());
    let program = program.unwrap_or("mosquitto");
    let mut command = Command::new(program);
    let process = Process::start(command.arg("-c").arg(&path), MOSQUITTO, &fleet.path("mosquitto.log"))
        .context("mosquitto is measured beside the gateway: apt-get install mosquitto")?;
    let address = loopback(port);
    until("mosquitto listens", || Ok(TcpStream::connect(address).ok()))?;
    let said = Command::new(program).arg("-h").output()?;
    let version = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or(MOSQUITTO).to_owned();
    Ok((Peer { name: MOSQUITTO, version, address, process: process.id(), is_broker: true }, process))
}

fn bare(fleet: &Fleet) -> Result<(Peer, Process)> {
    let [certificate, key, client_cas] = fleet.server_files()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare").arg("--certificate").arg(certificate).arg("--key").arg(key).arg("--client-cas").arg(client_cas);
    let mut process = Process::start(&mut command, BARE, &fleet.path("bare.log"))?;
    let port = process.line("ready", |line| line.strip_prefix("ready ")?.parse().ok())?;
    let version = "tokio and rustls".to_owned();
    Ok((Peer { name: BARE, version, address: loopback(port), process: process.id(), is_broker: false }, process))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
