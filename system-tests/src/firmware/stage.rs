//! A live world with emulated boards in it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use muster_issuing::pem;
use muster_protocol::UnixTime;
use serde_json::Value;

use super::{Board, EmulatedBoard, FactoryMade, HOST_ADDRESS, WORD_BYTES, image_of_words};
use crate::corpus::{Stolen, Thief};
use crate::live::{Device, Options, Ports, World, until};
use crate::test_pki::TestKey;

/// A gateway that emulated boards reach, and the devices that the factory made for it.
#[derive(Debug)]
pub struct Stage {
    /// The world around the boards.
    pub world: World,
}

impl Stage {
    /// A world with this many devices, and its gateway running.
    pub fn new(devices: u32) -> Result<Self> {
        Self::named(devices, vec![HOST_ADDRESS])
    }

    /// The same, with these names of the gateway, in the order in which devices try them.
    pub fn named(devices: u32, names: Vec<&'static str>) -> Result<Self> {
        // Ports that were free a moment ago: the trust bundle that the factory writes names them.
        let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [mqtt, https] = [listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()];
        drop(listeners);
        let ports = Some(Ports { mqtt, https });
        Ok(Self { world: World::new(Options { devices, names, ports, ..Options::default() })? })
    }

    /// The device with this number, from 0, as a board that has its identity and has never been on.
    pub fn board(&self, index: u32) -> Result<(Device, Board)> {
        self.board_dialling(index, None)
    }

    /// The same, dialling `gateway`, `HOST:PORT`, in place of the one that the trust bundle names.
    pub fn board_dialling(&self, index: u32, gateway: Option<&str>) -> Result<(Device, Board)> {
        let device = self.world.device(index)?;
        let board = self.blank_board(&device.id);
        FactoryMade { identity: &device.identity, gateway }.flash::<WORD_BYTES>()?.save(&board.flash)?;
        Ok((device, board))
    }

    /// The same as [`Stage::board`], with a flash that programs `WORD` bytes at once and the image that was built for it.
    pub fn board_of_words<const WORD: usize>(&self, index: u32) -> Result<(Device, Board)> {
        let device = self.world.device(index)?;
        let board = Board { image: Some(image_of_words(WORD)?), ..self.blank_board(&device.id) };
        FactoryMade { identity: &device.identity, gateway: None }.flash::<WORD>()?.save(&board.flash)?;
        Ok((device, board))
    }

    /// Somebody who stole the gateway's CA and this device.
    pub fn thief(&self, device: &Device) -> Result<Thief> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let stolen = |folder: &Path, name: &str| {
            let read = |end: &str| fs::read_to_string(folder.join(name).with_extension(end));
            let certificate = pem::read_certificates(&read("crt")?)?.into_iter().next().context("no certificate")?;
            anyhow::Ok(Stolen { key: TestKey::stolen(&read("key")?), certificate })
        };
        let ca = stolen(&self.world.path("gateway/ca"), "gateway-ca")?;
        let device = stolen(&device.identity, "idevid")?;
        Ok(Thief::new(GATEWAY_CA, ca, device, HOST_ADDRESS, UnixTime(now)))
    }

    /// A board without any identity.
    #[must_use]
    pub fn blank_board(&self, name: &str) -> Board {
        // Reports every second, and no long waits: quick enough for a test.
        Board::new(self.world.path(&format!("{name}.flash"))).with("telemetry=1").with("pace=quick")
    }

    /// Waits until the gateway shows the device operational, with its certificate confirmed and nothing ordered.
    pub fn settled(&self, device: &Device, board: &EmulatedBoard) -> Result<Value> {
        until(&format!("{} online and settled", device.id), || {
            let shown = self.world.show(device)?;
            Ok(is_settled(&shown).then_some(shown))
        })
        .with_context(|| format!("now: {}\n{}", self.world.show(device).unwrap_or_default(), board.tail()))
    }

    /// Orders a rotation, and waits until the device has a new certificate and the one before is withdrawn.
    pub fn rotate(&self, device: &Device, board: &EmulatedBoard) -> Result<Value> {
        let before = self.world.show(device)?["serial"].clone();
        self.world.gateway(&["device", "rotate", &device.id])?;
        until(&format!("{} has a new certificate, and the old one is withdrawn", device.id), || {
            let shown = self.world.show(device)?;
            let is_withdrawn = shown["certificates"].to_string().contains("superseded");
            Ok((shown["serial"] != before && is_withdrawn && shown["standing"] == "active").then_some(shown))
        })
        .with_context(|| format!("now: {}\n{}", self.world.show(device).unwrap_or_default(), board.tail()))
    }

    /// Waits until the device is operational, or its board is off; whether it is operational.
    pub fn settled_or_ended(&self, device: &Device, board: &mut EmulatedBoard) -> Result<bool> {
        until(&format!("{} settled or off", device.id), || {
            if !board.is_running()? {
                return Ok(Some(false));
            }
            Ok(is_settled(&self.world.show(device)?).then_some(true))
        })
    }
}

fn is_settled(shown: &Value) -> bool {
    shown["online"] == true
        && shown["standing"] == "active"
        && shown["ordered_rotation"].is_null()
        && !shown["serial"].is_null()
}

/// The common name of the gateway CA in the live world.
const GATEWAY_CA: &str = "Muster acme gateway CA";
