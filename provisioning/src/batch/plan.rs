//! The plan of a batch: what was ordered and which ids it has. Written once, before the first key is made.

use std::fs;
use std::path::Path;

use muster_issuing::file;
use muster_protocol::device_id::FleetId;
use muster_protocol::limits::{DEVICE_ID_BYTES_MAX, PRODUCT_BYTES_MAX};
use muster_protocol::{DeviceId, Name};
use muster_terminal::{Failure, OrFail as _};
use serde::{Deserialize, Serialize};

use crate::ledger;

const PLAN: &str = "batch.json";
/// Digits of the number at the end of an id.
const DIGITS: usize = 6;

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
        let prefix = id_prefix(&order)?;
        let first = ledger::reserve(pki, &prefix, order.count)?;
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
        let number = self.first.saturating_add(index);
        DeviceId::new(&format!("{}-{number:0DIGITS$}", self.prefix)).or_fail("batch.id", "the device id")
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
    let printable = |text: &str| !text.chars().any(char::is_control);
    let fits = |text: &str| text.len() <= PRODUCT_BYTES_MAX && printable(text);
    if order.product.is_empty() || !fits(&order.product) || !fits(&order.lot) {
        let message = format!(
            "product and lot have at most {PRODUCT_BYTES_MAX} bytes and no control characters; the product has a name"
        );
        return Err(Failure::usage("batch.name", message));
    }
    match order.gateway.as_deref().map(|gateway| gateway.rsplit_once(':')) {
        None => Ok(()),
        Some(Some((host, port))) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(_) => Err(Failure::usage("batch.gateway", "--gateway is HOST:PORT, as in gateway.example:8883")),
    }
}

/// Product and lot as they may stand in an id: lower case, everything unusual a dash.
fn id_prefix(order: &Order) -> Result<String, Failure> {
    let part = |text: &str| -> String {
        let dashed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        dashed.split('-').filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("-")
    };
    let prefix = [part(&order.product), part(&order.lot)]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    if prefix.is_empty() {
        return Err(Failure::usage("batch.name", "the product's name has no letter or digit for a device id"));
    }
    if prefix.len() + 1 + DIGITS > DEVICE_ID_BYTES_MAX {
        return Err(Failure::usage("batch.name", "product and lot together are too long for a device id"));
    }
    Ok(prefix)
}

fn bounded(text: &str) -> Result<heapless::String<PRODUCT_BYTES_MAX>, Failure> {
    heapless::String::try_from(text).map_err(|_| Failure::failed("batch.malformed", "a name in the plan is too long"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(product: &str, lot: &str, gateway: Option<&str>) -> Order {
        Order { count: 2, product: product.into(), lot: lot.into(), gateway: gateway.map(Into::into) }
    }

    #[test]
    fn ids_come_from_product_and_lot() {
        assert_eq!(id_prefix(&order("Street Lamp (v2)", "2026/47", None)).unwrap(), "street-lamp-v2-2026-47");
        assert_eq!(id_prefix(&order("lamp", "", None)).unwrap(), "lamp");
        assert_eq!(id_prefix(&order("灯", "", None)).unwrap_err().code, "batch.name");
        assert!(id_prefix(&order(&"x".repeat(60), "", None)).is_err());
    }

    #[test]
    fn orders_that_make_no_sense_are_refused() {
        for (product, gateway) in
            [("", None), ("a\nb", None), ("lamp", Some("host")), ("lamp", Some(":1")), ("lamp", Some("h:0"))]
        {
            assert!(check(&order(product, "", gateway)).is_err(), "{product:?} {gateway:?}");
        }
        assert!(check(&order("lamp", "", Some("[::1]:8883"))).is_ok());
    }
}
