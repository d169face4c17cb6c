//! The command line of `muster-provision`.

use muster_terminal::{Failure, Output};

mod batch;
mod fleet;
mod manifest;
mod pki;
mod station;

/// Makes devices: keys, certificates, manifests
#[derive(clap::Parser, Debug)]
#[command(name = "muster-provision", version, arg_required_else_help = true)]
pub struct MusterProvision {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(clap::Subcommand, Debug)]
enum Noun {
    /// The factory's certification authorities
    #[command(subcommand)]
    Pki(pki::Verb),
    /// Batches of device identities
    #[command(subcommand)]
    Batch(batch::Verb),
    Station(station::Station),
    /// The fleet file: what devices trust
    #[command(subcommand)]
    Fleet(fleet::Verb),
    /// Shipment manifests
    #[command(subcommand)]
    Manifest(manifest::Verb),
}

impl MusterProvision {
    /// Does what the command line says.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        match self.noun {
            Noun::Pki(verb) => verb.run(output),
            Noun::Batch(verb) => verb.run(output),
            Noun::Station(station) => station.run(output),
            Noun::Fleet(verb) => verb.run(output),
            Noun::Manifest(verb) => verb.run(output),
        }
    }
}
