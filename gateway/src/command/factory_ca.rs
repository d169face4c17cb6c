//! `factory-ca add|list|remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_terminal::{Column, Failure, Listing, OrFail as _, Output, printable};

use super::Place;
use super::table::{fill, record};
use crate::admin::request::Request;
use crate::admin::view::{Done, FactoryCaAdded, FactoryCaView, Removed, Rows};
use crate::store::DocumentId;

#[derive(Debug, Subcommand)]
pub(super) enum FactoryCa {
    /// Register every CA of a PEM file: its identities and manifests count from now on
    Add(Add),
    /// List the registered CAs
    List(List),
    /// Remove a CA: nobody enrols under it any more; devices that are enrolled stay
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    #[command(flatten)]
    place: Place,
    /// One CA certificate or several, PEM
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    place: Place,
    /// The PEM file that was added, or the id that factory-ca list shows
    #[arg(value_name = "FILE|ID")]
    ca: String,
}

impl FactoryCa {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => {
                let certificates = read(&add.file)?;
                let added: Rows<FactoryCaAdded> = add.place.open()?.ask(Request::FactoryCaAdd { certificates })?;
                record(output, &added, || {
                    let line = |row: &FactoryCaAdded| match row.added {
                        Done::Now => format!("added {} ({})", printable(&row.ca.subject), row.ca.id),
                        Done::Before => format!("{} was registered before", printable(&row.ca.subject)),
                    };
                    added.items.iter().map(line).collect::<Vec<_>>().join("\n")
                })
            }
            Self::List(List { place }) => {
                let rows: Rows<FactoryCaView> = place.open()?.ask(Request::FactoryCaList)?;
                let mut listing = Listing::new([
                    Column::text("subject", "SUBJECT"),
                    Column::time("not_after", "EXPIRES"),
                    Column::time("added_at", "ADDED"),
                    Column::text("id", "ID"),
                ])
                .when_empty("no factory CA is registered; add one with factory-ca add");
                fill(&mut listing, &rows.items, &["not_after", "added_at"])?;
                listing.print(output)
            }
            Self::Remove(remove) => {
                let ids = remove.ids()?;
                let removed: Removed = remove.place.open()?.ask(Request::FactoryCaRemove { ids })?;
                record(output, &removed, || format!("removed {}", removed.removed.join(", ")))
            }
        }
    }
}

impl Remove {
    fn ids(&self) -> Result<Vec<String>, Failure> {
        if self.ca.parse::<DocumentId>().is_ok() {
            return Ok(vec![self.ca.clone()]);
        }
        let text = read(&PathBuf::from(&self.ca))?;
        let certificates = muster_issuing::pem::read_certificates(&text)
            .map_err(|error| Failure::usage("certificate.missing", format!("{}: {error}", self.ca)))?;
        Ok(certificates.iter().map(|der| DocumentId::of(der).to_string()).collect())
    }
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::not_found("file.missing", format!("there is no file {}", path.display())))
        }
        read => read.or_fail("file.unreadable", &format!("cannot read {}", path.display())),
    }
}
