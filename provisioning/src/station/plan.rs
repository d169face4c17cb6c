//! The plan of a station's output folder: for whom it makes devices, and under which name in the ledger. Written once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use muster_issuing::file;
use muster_protocol::device_id::FleetId;
use muster_protocol::trust::read_fleet_file;
use muster_terminal::{Failure, OrFail as _};
use rand_core::{OsRng, RngCore as _};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, Line, Step, VERSION};
use crate::serial;

/// The plan's name in the output folder.
pub const PLAN: &str = "station.json";
/// The fleet file that every board of the folder gets.
const FLEET: &str = "fleet.muster";
const LOCK: &str = ".station.lock";

/// What somebody ordered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kind {
    /// Product name; the boards have to say the same.
    pub product: String,
    /// Lot, or empty.
    pub lot: String,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u8,
    run: String,
    fleet: String,
    product: String,
    lot: String,
}

/// An output folder, locked against other stations as long as this lives.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) out: PathBuf,
    pub(super) run: String,
    pub(super) kind: Kind,
    pub(super) fleet: FleetId,
    pub(super) fleet_file: Vec<u8>,
    pub(super) prefix: String,
    _lock: File,
}

impl Plan {
    /// Opens the folder, or begins in it.
    pub(super) fn open(ledger: &mut Ledger, out: &Path, fleet: &Path, kind: Kind) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let cannot = format!("cannot write into {}", out.display());
        let prefix = serial::id_prefix(&kind.product, &kind.lot)?;
        let (fleet_file, fleet) = read_fleet(fleet)?;
        if out.join(crate::batch::PLAN).exists() {
            return Err(differs(out, "it holds a batch"));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(out).or_fail("station.unwritable", &cannot)?;
        let lock = File::create(out.join(LOCK)).or_fail("station.unwritable", &cannot)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("another station works in {}", out.display());
                return Err(Failure::failed("station.busy", message).hint("give each station an --out of its own"));
            }
            locked => locked.or_fail("station.unwritable", &cannot)?,
        }
        let path = out.join(PLAN);
        let written = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .or_fail("station.malformed", &format!("cannot read {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                begin(ledger, out, &kind, &fleet, &fleet_file)?
            }
            Err(error) => return Err(error).or_fail("station.unreadable", &format!("cannot read {}", path.display())),
        };
        let plan = Self { out: out.to_owned(), run: written.run.clone(), kind, fleet, fleet_file, prefix, _lock: lock };
        plan.check(&written, ledger)?;
        Ok(plan)
    }

    fn check(&self, written: &Written, ledger: &Ledger) -> Result<(), Failure> {
        if written.v != 1 {
            let message = format!("{} was written by a newer version", self.out.join(PLAN).display());
            return Err(Failure::refused("station.version", message));
        }
        if written.product != self.kind.product || written.lot != self.kind.lot {
            return Err(differs(&self.out, "it is for another product or lot"));
        }
        let kept = fs::read(self.out.join(FLEET)).unwrap_or_default();
        if written.fleet != self.fleet.as_str() || kept != self.fleet_file {
            return Err(differs(&self.out, "it is for another fleet file"));
        }
        if ledger.book().run(&self.run).is_none() {
            let message = format!("the ledger does not know {}", self.out.display());
            return Err(Failure::refused("ledger.lost", message)
                .hint("is --pki the one that it was begun with? A ledger that is lost cannot be made up"));
        }
        Ok(())
    }
}

/// The ledger hears of the run first: a kill between the two leaves a run that nobody uses, never a plan without one.
fn begin(ledger: &mut Ledger, out: &Path, kind: &Kind, fleet: &FleetId, fleet_file: &[u8]) -> Result<Written, Failure> {
    let cannot = format!("cannot write into {}", out.display());
    let run = format!("{:016x}", OsRng.next_u64());
    let step = Step::Opened {
        fleet: fleet.to_string(),
        product: kind.product.clone(),
        lot: kind.lot.clone(),
        out: fs::canonicalize(out).unwrap_or_else(|_| out.to_owned()).display().to_string(),
    };
    let line = Line { v: VERSION, at: muster_terminal::time::now_unix_secs(), run: run.clone(), step };
    ledger.transact(|_| Ok((vec![line], ())))?;
    file::replace_public(&out.join(FLEET), fleet_file).or_fail("station.unwritable", &cannot)?;
    let written = Written { v: 1, run, fleet: fleet.to_string(), product: kind.product.clone(), lot: kind.lot.clone() };
    let bytes = serde_json::to_vec_pretty(&written).or_fail("station.unwritable", &cannot)?;
    file::create_public(&out.join(PLAN), &bytes).or_fail("station.unwritable", &cannot)?;
    Ok(written)
}

fn read_fleet(path: &Path) -> Result<(Vec<u8>, FleetId), Failure> {
    let shown = path.display();
    let bytes = fs::read(path)
        .or_fail("fleet.unreadable", &format!("cannot read {shown}"))
        .map_err(|failure| failure.hint("the gateway's operator has it: fleet.muster in the gateway's folder"))?;
    let fleet = read_fleet_file(&bytes)
        .map(|bundle| bundle.bundle().fleet.clone())
        .map_err(|code| Failure::refused(code.name(), format!("{shown}: {}", code.text())))?;
    Ok((bytes, fleet))
}

fn differs(out: &Path, why: &str) -> Failure {
    Failure::refused("station.differs", format!("{}: {why}", out.display()))
        .hint("to go on with it, repeat its command; for anything else, give another --out")
}
