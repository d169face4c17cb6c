//! `fleet draft|sign|show`.

use std::path::PathBuf;

use muster_terminal::{Failure, Output, PasswordFile};

use crate::bundle;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Verb {
    /// Writes a draft of the next trust bundle, with everything as it is now
    Draft {
        /// The fleet file in force
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where draft.toml goes, and the gateway CAs beside it
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Signs a draft of a trust bundle, offline
    Sign(Sign),
    /// Shows a fleet file, after checking its signatures
    Show {
        /// The fleet file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Signs a draft of a trust bundle, offline
///
/// FILE is a draft in TOML (`fleet draft` writes one). The number must be higher than that of the
/// fleet file in force, which gives the pins. New pins need both keys: give --key twice.
#[derive(clap::Args, Debug)]
pub(super) struct Sign {
    /// The draft
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The fleet file in force
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// The encrypted key of the fleet root, or of the backup; twice to replace the pins
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Where the new fleet file goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    password: PasswordFile,
}

impl Verb {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Draft { file, out } => {
                let draft = bundle::draft(&file, &out)?;
                output.record(serde_json::json!({ "draft": draft }), || {
                    format!(
                        "{}\nChange it, then sign it where the fleet keys are: muster-provision fleet sign",
                        draft.display()
                    )
                })
            }
            Self::Sign(Sign { file, fleet, key, out, password }) => {
                let password = password.existing(output, "the fleet keys")?;
                let shown = bundle::sign(&file, &fleet, &key, password.as_bytes(), &out)?;
                output.record(shown.to_json(), || {
                    format!(
                        "{}signed: {}\nPut it in the gateway's folder as fleet.muster and reload the gateway.",
                        shown.to_text(),
                        out.display()
                    )
                })
            }
            Self::Show { file } => {
                let shown = bundle::show(&file)?;
                output.record(shown.to_json(), || shown.to_text())
            }
        }
    }
}
