//! `manifest show|verify`.

use std::path::PathBuf;

use muster_terminal::{Column, Failure, Listing, Output};
use serde_json::json;

use crate::manifest;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Verb {
    /// Lists the devices of a manifest, after checking its signature
    Show {
        /// The manifest
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Checks a manifest's signature, and whose it is
    Verify {
        /// The manifest
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The factory's CA certificates, PEM; without them only the signature itself is checked
        #[arg(long, value_name = "FILE")]
        factory_ca: Option<PathBuf>,
    },
}

impl Verb {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Show { file } => show(&manifest::read(&file)?, output),
            Self::Verify { file, factory_ca } => {
                let manifest = manifest::read(&file)?;
                let factory = match &factory_ca {
                    Some(path) => Some(manifest::verify_factory(&manifest, path)?),
                    None => None,
                };
                output.record(
                    json!({
                        "id": manifest.id,
                        "devices": manifest.entries.len(),
                        "signer": manifest.signer,
                        "factory": factory,
                        "verdict": if factory.is_some() { "trusted" } else { "signature_good" },
                    }),
                    || match &factory {
                        Some(_) => format!("good: {} devices, signed by a CA of this factory ({})", manifest.entries.len(), manifest.signer),
                        None => format!(
                            "the signature fits: {} devices, signed by {}\nWhose key that is was not checked: give --factory-ca FILE.",
                            manifest.entries.len(),
                            manifest.signer
                        ),
                    },
                )
            }
        }
    }
}

fn show(manifest: &manifest::Content, output: &Output) -> Result<(), Failure> {
    let mut listing = Listing::new([
        Column::text("device", "DEVICE"),
        Column::text("serial", "IDEVID SERIAL"),
        Column::text("key", "IDEVID KEY (SHA-256)"),
    ]);
    for entry in &manifest.entries {
        listing.push(json!({
            "device": entry.device.as_str(),
            "serial": entry.serial.to_string(),
            "key": entry.key.to_string(),
        }));
    }
    listing.beside("id", json!(manifest.id));
    listing.beside("fleet", json!(manifest.fleet));
    listing.beside("product", json!(manifest.product));
    listing.beside("lot", json!(manifest.lot));
    listing.beside("made_at", json!(muster_terminal::time::rfc3339(manifest.made_at.0)));
    output.note(format_args!(
        "manifest {} of fleet {}: product {}{}, {} devices, made {}",
        &manifest.id[..16],
        manifest.fleet,
        manifest.product,
        if manifest.lot.is_empty() { String::new() } else { format!(", lot {}", manifest.lot) },
        manifest.entries.len(),
        muster_terminal::time::rfc3339(manifest.made_at.0),
    ));
    listing.print(output)
}
