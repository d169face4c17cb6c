//! `station`.

use std::path::PathBuf;
use std::time::Duration;

use muster_protocol::DeviceId;
use muster_protocol::message::factory::Standing;
use muster_terminal::{Failure, Output, Progress};
use serde_json::json;

use crate::station::{Bench, Done, How, Kind, Office, Order, Place, Session};

/// Makes a blank board a device over its serial line
///
/// The board makes its key itself and never shows it. The station signs its IDevID, writes it with the fleet file, has
/// the board read it back and lock it, and adds the device to DIR/manifest.muster. Unplugged or killed at any step, the
/// same command with the same board goes on; a serial number belongs to one key for ever.
#[derive(clap::Args, Debug)]
pub(super) struct Station {
    /// The board's line: tcp:HOST:PORT, or a serial device
    #[arg(long, value_name = "LINE")]
    link: Place,
    /// The factory's PKI, from `pki init`; the ledger lies in it
    #[arg(long, value_name = "DIR")]
    pki: PathBuf,
    /// Where certificates and manifest go; each station has one of its own
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Product name; the board's firmware has to be for it, and device ids start with it
    #[arg(long, value_name = "NAME")]
    product: String,
    /// Lot
    #[arg(long, value_name = "LOT", default_value = "")]
    lot: String,
    /// The fleet file of the gateway: pins, trust bundle, addresses
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// This board's device id, instead of product, lot and the next number
    #[arg(long, value_name = "ID", conflicts_with = "count")]
    device_id: Option<DeviceId>,
    /// Board after board, until DIR has so many devices; without it one board
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Speed of a serial device
    #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
    baud: u32,
    /// Give up after so many seconds of silence; between boards it waits for ever
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

impl Station {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let kind = Kind { product: self.product, lot: self.lot };
        let patience = Duration::from_secs(self.patience);
        let mut office = Office::open(&self.pki, &self.out, &self.fleet, kind)?;
        if let Some(device) = &self.device_id {
            office.choose(device.clone());
        }
        match self.count {
            None => {
                let mut bench = Bench::open(self.link, self.baud, patience)?;
                let done = make(&mut bench, &mut office, patience, |line| output.note(line))?;
                if done.how == How::Already && self.device_id.is_none() {
                    let message = format!("the board is {} already; nothing was changed", done.device);
                    return Err(Failure::refused("factory.locked", message)
                        .hint("plug in a blank board; with --device-id its own device is no error"));
                }
                report(&done, &office, output)
            }
            Some(count) => {
                let made = office.made();
                if made > 0 {
                    output.note(format_args!("going on: {made} of {count} devices were made before"));
                }
                let progress = Progress::new(output, "devices", u64::from(count));
                progress.set(u64::from(made));
                if made < count {
                    let mut bench = Bench::open(self.link, self.baud, patience)?;
                    make_until(count, &mut bench, &mut office, patience, output, &progress)?;
                }
                progress.finish("devices made");
                output.note(format_args!("the manifest is {}", office.manifest().display()));
                Ok(())
            }
        }
    }
}

/// Board after board. A board that is done is left alone until another one is there.
fn make_until(
    count: u32,
    bench: &mut Bench,
    office: &mut Office,
    patience: Duration,
    output: &Output,
    progress: &Progress<'_>,
) -> Result<(), Failure> {
    let mut last: Option<DeviceId> = None;
    while office.made() < count {
        let mut was_heard = false;
        let outcome = make(bench, office, patience, |line| {
            was_heard = true;
            progress.say(line);
        });
        match outcome {
            Ok(done) if done.how == How::Already => {
                if last.as_ref() != Some(&done.device) {
                    progress.say(&format!("{} is done already: plug in the next board", done.device));
                    last = Some(done.device);
                }
                bench.pause(NEXT_BOARD_PAUSE);
            }
            Ok(done) => {
                report(&done, office, output)?;
                progress.set(u64::from(office.made()));
                last = Some(done.device);
            }
            // Nobody is there yet: the next board comes when somebody plugs it in.
            Err(failure) if !was_heard && matches!(failure.code.as_str(), "station.silent" | "station.line") => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn make(
    bench: &mut Bench,
    office: &mut Office,
    patience: Duration,
    mut say: impl FnMut(&str),
) -> Result<Done, Failure> {
    let order: Order = office.order(patience);
    let (mut has_met, mut named) = (false, None);
    let done = bench.session(order, office, |session: &Session| {
        if let (false, Some(hello)) = (has_met, session.hello()) {
            has_met = true;
            if !matches!(hello.standing, Standing::Locked { .. }) {
                let standing = standing(&hello.standing);
                say(&format!("board: {}, agent {}, {standing}", hello.board, hello.agent));
            }
        }
        if named.as_ref() != session.device() {
            named = session.device().cloned();
            if let (Some(device), false) = (&named, session.done().is_some_and(|done| done.how == How::Already)) {
                say(&format!("{device}: under way; leave it plugged in"));
            }
        }
    })?;
    office.close_books()?;
    Ok(done)
}

const fn standing(standing: &Standing) -> &'static str {
    match standing {
        Standing::Empty => "blank",
        Standing::Keyed { .. } => "has its key",
        Standing::Written { .. } => "has its identity, not locked",
        Standing::Locked { .. } => "a device",
    }
}

fn report(done: &Done, office: &Office, output: &Output) -> Result<(), Failure> {
    let (device, key) = (&done.device, done.public_key.fingerprint());
    let how = match done.how {
        How::Made => "made",
        How::Resumed => "resumed",
        How::Already => "already",
    };
    output.record(
        json!({
            "device": device.as_str(),
            "key": key.to_string(),
            "serial": office.serial(device)?.to_string(),
            "how": how,
            "certificate": office.certificate(device),
            "manifest": office.manifest(),
        }),
        || {
            let manifest = office.manifest();
            match done.how {
                How::Already => format!("{device} was done before; nothing was changed"),
                _ => format!(
                    "{device} is a device, its identity locked\n  key (SHA-256)  {key}\n\
                     Ship the manifest to the fleet's operator: muster-gateway manifest import {}",
                    manifest.display()
                ),
            }
        },
    )
}

const NEXT_BOARD_PAUSE: Duration = Duration::from_millis(500);
