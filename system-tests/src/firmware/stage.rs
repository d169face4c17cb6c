//! A live world with emulated boards in it.

use std::net::TcpListener;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Board, EmulatedBoard, FactoryMade, HOST_ADDRESS};
use crate::live::{Device, Options, Ports, World, until};

/// A gateway that emulated boards reach, and the devices that the factory made for it.
#[derive(Debug)]
pub struct Stage {
    /// The world around the boards.
    pub world: World,
}

impl Stage {
    /// A world with this many devices, and its gateway running.
    pub fn new(devices: u32) -> Result<Self> {
        // Ports that were free a moment ago: the trust bundle that the factory writes names them.
        let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [mqtt, https] = [listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()];
        drop(listeners);
        let (names, ports) = (vec![HOST_ADDRESS], Some(Ports { mqtt, https }));
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
        FactoryMade { identity: &device.identity, gateway }.flash()?.save(&board.flash)?;
        Ok((device, board))
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
