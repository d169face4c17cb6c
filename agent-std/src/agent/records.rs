//! What a core boots from: stored records, the keys that are really there, the trust in force.

use std::sync::Arc;

use muster_protocol::device::{Boot, LifeRecord};
use muster_protocol::limits::LABEL_BYTES_MAX;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{SlotId, SlotRecord};
use muster_protocol::trust::{self, Pins, Policy};
use muster_protocol::{Code, Identity};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::status::{self, Status};
use super::{Agent, AgentError, KEYS, RECORDS, Setup};
use crate::clock::RELEASED_AT;
use crate::durable::{Disk, FileSystem};
use crate::identity::{Endpoint, Factory};
use crate::key::{FileKeyStore, KeyStore};
use crate::slots::FileSlotStore;

/// What the loop needs of the trust bundle in force.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) pins: Pins,
    pub(super) number: u32,
    pub(super) policy: Policy,
    /// Certificates of the gateway CAs, DER.
    pub(super) gateway_cas: Arc<[Vec<u8>]>,
    /// In the order in which they are tried.
    pub(super) gateways: Vec<Gateway>,
}

/// Where a gateway is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Gateway {
    pub(super) host: String,
    pub(super) mqtt_port: u16,
    pub(super) https_port: u16,
}

/// A core's first input, with the trust that the loop shares with it.
pub(super) struct Booted {
    pub(super) boot: Boot,
    pub(super) trust: Trust,
}

pub(super) fn boot(agent: &Agent) -> Result<Booted, AgentError> {
    let failed = |source| AgentError::State { path: agent.setup.state_dir.join(RECORDS), source };
    let slots = read_slots(&agent.records).map_err(failed)?;
    let life = read_life(&agent.records).map_err(failed)?;
    let stored = agent.records.read(Item::Trust).map_err(failed)?;
    let trust = trust_in_force(stored.as_deref(), &agent.factory)?;
    let keys = [agent.keys.public_key(SlotId::A)?, agent.keys.public_key(SlotId::B)?];
    let boot = Boot {
        identity: agent.factory.identity.clone(),
        slots,
        keys,
        life,
        built_at: RELEASED_AT,
        pins: trust.pins,
        bundle: trust.number,
        policy: trust.policy,
        settings: agent.setup.settings,
        seed: seed(&agent.factory.identity),
        agent: version(),
    };
    Ok(Booted { boot, trust })
}

/// The trust bundle to go by: the stored one, or the factory's when that is newer or nothing usable is stored.
pub(super) fn trust_in_force(stored: Option<&[u8]>, factory: &Factory) -> Result<Trust, AgentError> {
    let own = read_trust(&factory.fleet, factory)
        .map_err(|code| AgentError::State { path: "fleet.muster".into(), source: std::io::Error::other(code) })?;
    let stored = stored.and_then(|bytes| match read_trust(bytes, factory) {
        Ok(trust) => Some(trust),
        Err(code) => {
            warn!(event = "trust.stored_unusable", device = %factory.device(), code = %code);
            None
        }
    });
    Ok(match stored {
        Some(stored) if stored.number >= own.number => stored,
        _ => own,
    })
}

fn read_trust(fleet_file: &[u8], factory: &Factory) -> Result<Trust, Code> {
    let verified = trust::read_fleet_file(fleet_file)?;
    let bundle = verified.bundle();
    if bundle.fleet != *factory.identity.fleet() {
        return Err(Code::BundleWrongFleet);
    }
    let mut gateways: Vec<Gateway> = bundle
        .gateways
        .iter()
        .map(|address| Gateway {
            host: address.host.as_str().to_owned(),
            mqtt_port: address.mqtt_port,
            https_port: address.https_port,
        })
        .collect();
    if let (Some(Endpoint { host, port }), Some(first)) = (&factory.gateway, gateways.first_mut()) {
        *first = Gateway { host: host.clone(), mqtt_port: *port, https_port: first.https_port };
    }
    Ok(Trust {
        pins: *verified.pins(),
        number: bundle.number,
        policy: bundle.policy,
        gateway_cas: bundle.gateway_cas.iter().map(|der| der.to_vec()).collect(),
        gateways,
    })
}

fn read_slots<F: FileSystem>(records: &FileSlotStore<F>) -> std::io::Result<[Option<SlotRecord>; 2]> {
    let read = |slot| {
        let bytes = records.read(Item::Slot(slot))?;
        Ok::<_, std::io::Error>(bytes.and_then(|bytes| SlotRecord::decode(&bytes)))
    };
    Ok([read(SlotId::A)?, read(SlotId::B)?])
}

fn read_life<F: FileSystem>(records: &FileSlotStore<F>) -> std::io::Result<LifeRecord> {
    Ok(records.read(Item::Life)?.and_then(|bytes| LifeRecord::decode(&bytes)).unwrap_or_default())
}

/// Spreads the fleet's jitter; the same on every boot, so that a restart does not move the time of a renewal.
fn seed(identity: &Identity) -> u64 {
    let digest = Sha256::digest(identity.to_san().as_bytes());
    digest.first_chunk::<8>().map_or(1, |bytes| u64::from_le_bytes(*bytes))
}

fn version() -> heapless::String<LABEL_BYTES_MAX> {
    let mut text = heapless::String::new();
    // Cut off rather than missing, should a version ever be that long.
    for letter in concat!("muster-agent/", env!("CARGO_PKG_VERSION")).chars() {
        if text.push(letter).is_err() {
            break;
        }
    }
    text
}

/// The status as far as files tell it. Writes nothing and takes no lock.
pub(super) fn status_from_files(setup: &Setup) -> Result<Status, AgentError> {
    let factory = Factory::read(&setup.identity)?;
    let disk = Disk::new(setup.durability);
    let failed = |source| AgentError::State { path: setup.state_dir.clone(), source };
    let records = FileSlotStore::beside(disk, &setup.state_dir.join(RECORDS));
    let slots = read_slots(&records).map_err(failed)?;
    let life = read_life(&records).map_err(failed)?;
    let stored = records.read(Item::Trust).map_err(failed)?;
    let trust = trust_in_force(stored.as_deref(), &factory)?;
    let keys = FileKeyStore::beside(disk, &setup.state_dir.join(KEYS), &setup.identity.key)?;
    let keys = [keys.public_key(SlotId::A)?, keys.public_key(SlotId::B)?];
    Ok(status::from_records(&factory.identity, [slots[0].as_ref(), slots[1].as_ref()], keys, life, &trust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_fits_its_field() {
        assert_eq!(version().as_str(), concat!("muster-agent/", env!("CARGO_PKG_VERSION")));
    }
}
