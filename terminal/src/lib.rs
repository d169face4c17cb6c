//! What every Muster command line shares, so that four programs answer a person and a script in one way.
//!
//! | module | what |
//! |---|---|
//! | [`exit`] | the one table of exit codes |
//! | [`failure`] | an error for people (`error: … hint: …`) or, with `--json`, one object |
//! | [`output`] | data on stdout, everything else on stderr; colour and prompts only where a person is |
//! | [`listing`] | rows: an aligned table, or the same rows as JSON |
//! | [`time`] | RFC 3339 and relative times, durations |
//! | [`progress`] | a bar on a terminal, occasional lines off it |
//! | [`password`] | passwords from a private file or typed without echo; never from an argument |
//! | [`command`] | [`run`]: parse, act, report; adds `--json`, `--quiet`, `completion` and `man` |
//!
//! No program logic lives here, and nothing of the protocol: a word that only one program says belongs to that program.
//!
//! ```no_run
//! use muster_terminal::{Failure, Output, run};
//!
//! #[derive(clap::Parser)]
//! #[command(name = "muster-example", version)]
//! struct Example {
//!     #[command(subcommand)]
//!     act: Act,
//! }
//!
//! #[derive(clap::Subcommand)]
//! enum Act {
//!     /// Greets
//!     Greet { name: String },
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run(|example: Example, output: &Output| match example.act {
//!         Act::Greet { name } if name.is_empty() => Err(Failure::refused("name.empty", "nobody to greet")),
//!         Act::Greet { name } => output.data(format_args!("hello {name}")),
//!     })
//! }
//! ```

pub mod command;
pub mod exit;
pub mod failure;
pub mod listing;
pub mod output;
pub mod password;
pub mod progress;
pub mod time;

pub use command::run;
pub use exit::Exit;
pub use failure::{Failure, OrFail};
pub use listing::{Column, Listing};
pub use output::{Confirmation, Format, Output, Stream, Tone, printable};
pub use password::{Password, PasswordFile};
pub use progress::Progress;
