//! The station: makes a blank board a device over its serial line.
//!
//! ```text
//! board    key -------- CSR ------------- write, read back -- lock
//! ledger       reserved -> bound -> issued -> written -> locked -> done
//! ```
//!
//! The key is made on the board and never leaves it. The name belongs to the key from the moment at which a good CSR was
//! seen, and the ledger ([`crate::ledger`]) remembers that for the whole line. Unplugged or killed anywhere, the same
//! command with the same board goes on where board and ledger stand.
//!
//! | file | idea |
//! |---|---|
//! | `willing` | what the station signs: one function |
//! | `session` | one board, sans I/O |
//! | `desk` | what a session needs of ledger and CA |
//! | `office` | the desk on the real ledger and CA, and the manifest |
//! | `plan` | the output folder |
//! | `link` | serial device or TCP |
//! | `bench` | the loop over a line |

mod bench;
mod desk;
mod link;
mod office;
mod plan;
mod session;
mod willing;

pub use bench::Bench;
pub use desk::Desk;
pub use link::{Link, Place};
pub use office::Office;
pub use plan::{Kind, PLAN};
pub use session::{Done, How, Order, Session};
pub use willing::{Offer, Willing, willing_to_sign};
