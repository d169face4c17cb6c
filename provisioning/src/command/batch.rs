//! `batch make`.

use std::path::PathBuf;

use muster_terminal::{Failure, Output, Progress};
use serde_json::json;

use crate::batch::{self, Order};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Verb {
    /// Makes N device identities and their signed manifest
    Make(Make),
}

/// Makes N device identities and their signed manifest
///
/// Each device gets a folder DIR/<device-id> with idevid.crt, idevid.key, fleet.muster and, with --gateway, its address.
/// Cut short, the same command goes on where it stopped and never gives one serial number to two devices.
#[derive(clap::Args, Debug)]
pub(super) struct Make {
    /// The factory's PKI, from `pki init`
    #[arg(long, value_name = "DIR")]
    pki: PathBuf,
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Where the identities go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Product name; the device ids start with it
    #[arg(long, value_name = "NAME")]
    product: String,
    /// Lot
    #[arg(long, value_name = "LOT", default_value = "")]
    lot: String,
    /// The fleet file of the gateway: pins and trust bundle
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// Where the devices find the gateway, instead of the addresses in the trust bundle
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
}

impl Verb {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let Self::Make(Make { pki, count, out, product, lot, fleet, gateway }) = self;
        let order = Order { count, product, lot, gateway };
        let mut batch = batch::Batch::open(&pki, &out, &fleet, order)?;
        if batch.made() > 0 {
            output.note(format_args!("going on: {} of {count} devices were made before", batch.made()));
        }
        let progress = Progress::new(output, "device identities", u64::from(count));
        progress.set(u64::from(batch.made()));
        batch.make_all(|made| progress.set(u64::from(made)))?;
        progress.finish("device identities made");
        let manifest = batch.seal()?;
        output.record(
            json!({
                "out": out,
                "devices": count,
                "first": batch.device_id(0)?.as_str(),
                "last": batch.device_id(count - 1)?.as_str(),
                "manifest": manifest,
            }),
            || {
                format!(
                    "{count} devices in {}\nShip the manifest to the fleet's operator: muster-gateway manifest import {}",
                    out.display(),
                    manifest.display()
                )
            },
        )
    }
}
