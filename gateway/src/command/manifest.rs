//! `manifest import|list`.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_terminal::{Column, Failure, Listing, OrFail as _, Output, printable};

use super::Place;
use super::table::{fill, record};
use crate::admin::request::Request;
use crate::admin::view::{Done, Imported, ManifestView, Rows};

#[derive(Debug, Subcommand)]
pub(super) enum Manifest {
    /// Import a shipment manifest: its devices may enrol from now on
    Import(Import),
    /// List the manifests that were imported, newest first
    List(List),
}

#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    place: Place,
    /// The manifest, as the factory signed it
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
}

impl Manifest {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Import(import) => {
                let shown = import.file.display();
                let bytes = match std::fs::read(&import.file) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        return Err(Failure::not_found("file.missing", format!("there is no file {shown}")));
                    }
                    read => read.or_fail("file.unreadable", &format!("cannot read {shown}"))?,
                };
                let imported: Imported = import.place.open()?.ask_with(Request::ManifestImport, bytes)?;
                record(output, &imported, || said(&imported))
            }
            Self::List(List { place }) => {
                let rows: Rows<ManifestView> = place.open()?.ask(Request::ManifestList)?;
                let mut listing = Listing::new([
                    Column::text("product", "PRODUCT"),
                    Column::text("lot", "LOT"),
                    Column::text("devices", "DEVICES"),
                    Column::time("made_at", "MADE"),
                    Column::time("imported_at", "IMPORTED"),
                    Column::text("id", "ID"),
                ])
                .when_empty("no manifest was imported yet");
                fill(&mut listing, &rows.items, &["made_at", "imported_at"])?;
                listing.print(output)
            }
        }
    }
}

fn said(imported: &Imported) -> String {
    let Imported { devices, added, .. } = imported;
    let product = printable(&imported.product);
    match imported.imported {
        Done::Before => {
            format!("this manifest was imported before ({devices} devices of {product}); nothing was changed")
        }
        Done::Now if added == devices => format!("{devices} devices of {product} imported"),
        Done::Now => format!("{devices} devices of {product} imported, {added} of them new"),
    }
}
