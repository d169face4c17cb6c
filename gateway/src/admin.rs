//! Administration: one set of operations, and the ways to reach it.
//!
//! | module | what |
//! |---|---|
//! | [`operations`] | every act and every question, with roles and audit |
//! | [`view`] | what they answer |
//! | [`caller`] | who asks |
//! | [`error`] | why not |
//! | [`request`] | the same operations as one enum, for the admin socket |
//! | [`socket`], [`client`] | the admin socket and its client |
//! | [`api`] | the HTTPS API |

pub mod api;
pub mod caller;
pub mod client;
pub mod error;
pub mod instant;
pub mod operations;
pub mod pem;
pub mod request;
pub mod socket;
pub mod view;
mod wire;

pub use caller::Caller;
pub use error::{Blame, OperationError};
pub use instant::Instant;
pub use operations::{
    AuditFilter, COMMAND_WAIT_SECS_MAX, DeviceFilter, Installation, NewCommand, NewOperator, NewService, Operations,
};
