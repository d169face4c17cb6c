//! `pki init`.

use std::path::PathBuf;

use muster_terminal::{Failure, Output, PasswordFile};
use serde_json::json;

use crate::ceremony;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Verb {
    /// Makes the factory root and the issuing CA
    Init(Init),
}

/// Makes the factory root and the issuing CA
///
/// The root's key is encrypted with the password and not needed afterwards: take DIR/factory-root.key away and keep it
/// offline. Batches are signed with the issuing CA's key, which stays in DIR, readable by its owner alone.
#[derive(clap::Args, Debug)]
pub(super) struct Init {
    /// Where the PKI is put; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name of the factory, in the subjects of its CAs
    #[arg(long, value_name = "NAME", default_value = "factory")]
    name: String,
    #[command(flatten)]
    password: PasswordFile,
}

impl Verb {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let Self::Init(Init { dir, name, password }) = self;
        ceremony::check_absent(&dir)?;
        let password = password.new_password(output, "the factory root's key")?;
        let made = ceremony::init(&dir, &name, password.as_bytes())?;
        let shown = dir.display();
        output.record(
            json!({
                "dir": dir,
                "factory_ca": dir.join(ceremony::FACTORY_CA),
                "root_key": dir.join(ceremony::ROOT_KEY),
                "root_fingerprint": made.root_fingerprint.to_string(),
                "issuing_fingerprint": made.issuing_fingerprint.to_string(),
            }),
            || {
                format!(
                    "factory PKI in {shown}\n  factory root  {}\n  issuing CA    {}\n\
                     Take {shown}/{} away and keep it offline; no batch needs it.\n\
                     Register the factory at the gateway: muster-gateway factory-ca add {shown}/{}",
                    made.root_fingerprint,
                    made.issuing_fingerprint,
                    ceremony::ROOT_KEY,
                    ceremony::FACTORY_CA,
                )
            },
        )
    }
}
