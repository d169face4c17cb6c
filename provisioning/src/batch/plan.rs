//! The plan of a batch: what was ordered and which ids it has. Written once, before the first key is made.

use std::fs;
use std::path::Path;

use muster_issuing::file;
use muster_protocol::device_id::FleetId;
use muster_protocol::limits::PRODUCT_BYTES_MAX;
use muster_protocol::{DeviceId, Name};
use muster_terminal::{Failure, OrFail as _};
use serde::{Deserialize, Serialize};

use crate::serial;

pub(crate) const PLAN: &str = "batch.json";

/// What somebody ordered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// How many devices.
    pub count: u32,
    /// Product name.
    pub product: String,
    /// Lot, or empty.
    pub lot: String,
    /// `HOST:PORT` of the gateway, where the devices do not take it from the trust bundle.
    pub gateway: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    v: u8,
    order: Order,
    fleet: String,
    prefix: String,
    first: u32,
    made_at_unix_secs: u64,
}

impl Plan {
    /// Reads the plan in `out`, or makes one with freshly reserved ids.
    pub(super) fn open(pki: &Path, out: &Path, fleet: &FleetId, order: Order) -> Result<Self, Failure> {
        check(&order)?;
        if out.join(crate::station::PLAN).exists() {
            let message = format!("{} is a station's folder", out.display());
            return Err(Failure::refused("batch.differs", message).hint("give another --out"));
        }
        let path = out.join(PLAN);
        let shown = path.display();
        match fs::read(&path) {
            Ok(bytes) => {
                let plan: Self =
                    serde_json::from_slice(&bytes).or_fail("batch.malformed", &format!("cannot read {shown}"))?;
                if plan.v != 1 {
                    return Err(Failure::refused("batch.version", format!("{shown} was written by a newer version")));
                }
                if plan.order != order || plan.fleet != fleet.as_str() {
                    return Err(Failure::refused(
                        "batch.differs",
                        format!("{} holds another batch: {shown}", out.display()),
                    )
                    .hint("to go on with it, repeat its command; for a new batch, give another --out"));
                }
                Ok(plan)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::begin(pki, out, fleet, order),
            Err(error) => Err(error).or_fail("batch.unreadable", &format!("cannot read {shown}")),
        }
    }

    fn begin(pki: &Path, out: &Path, fleet: &FleetId, order: Order) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let cannot = format!("cannot write into {}", out.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(out).or_fail("batch.unwritable", &cannot)?;
        let prefix = serial::id_prefix(&order.product, &order.lot)?;
        let first = serial::reserve(pki, &prefix, order.count)?;
        let made_at_unix_secs = muster_terminal::time::now_unix_secs();
        let plan = Self { v: 1, order, fleet: fleet.to_string(), prefix, first, made_at_unix_secs };
        plan.device_id(plan.count() - 1)?;
        let bytes = serde_json::to_vec_pretty(&plan).or_fail("batch.unwritable", &cannot)?;
        file::replace_public(&out.join(PLAN), &bytes).or_fail("batch.unwritable", &cannot)?;
        Ok(plan)
    }

    pub(super) const fn count(&self) -> u32 {
        self.order.count
    }

    pub(super) const fn made_at_unix_secs(&self) -> u64 {
        self.made_at_unix_secs
    }

    pub(super) fn gateway(&self) -> Option<&str> {
        self.order.gateway.as_deref()
    }

    pub(super) fn device_id(&self, index: u32) -> Result<DeviceId, Failure> {
        serial::id(&self.prefix, self.first.saturating_add(index))
    }

    pub(super) fn fleet(&self) -> Result<FleetId, Failure> {
        Name::new(&self.fleet).or_fail("batch.malformed", "the fleet id in the plan")
    }

    pub(super) fn product(&self) -> Result<heapless::String<PRODUCT_BYTES_MAX>, Failure> {
        bounded(&self.order.product)
    }

    pub(super) fn lot(&self) -> Result<heapless::String<PRODUCT_BYTES_MAX>, Failure> {
        bounded(&self.order.lot)
    }
}

fn check(order: &Order) -> Result<(), Failure> {
    match order.gateway.as_deref().map(|gateway| gateway.rsplit_once(':')) {
        None => Ok(()),
        Some(Some((host, port))) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(_) => Err(Failure::usage("batch.gateway", "--gateway is HOST:PORT, as in gateway.example:8883")),
    }
}

fn bounded(text: &str) -> Result<heapless::String<PRODUCT_BYTES_MAX>, Failure> {
    heapless::String::try_from(text).map_err(|_| Failure::failed("batch.malformed", "a name in the plan is too long"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(gateway: &str) -> Order {
        Order { count: 2, product: "lamp".into(), lot: String::new(), gateway: Some(gateway.into()) }
    }

    #[test]
    fn orders_that_make_no_sense_are_refused() {
        for gateway in ["host", ":1", "h:0"] {
            assert!(check(&order(gateway)).is_err(), "{gateway:?}");
        }
        assert!(check(&order("[::1]:8883")).is_ok());
    }
}
