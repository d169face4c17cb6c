//! The fleet as it is connected now: who may open a session, what a session may do, and what ends it.
//!
//! | file | one idea |
//! |---|---|
//! | [`live`] | the live sessions, by device and service; cut and notified from outside |
//! | `commands` | commands to devices that are not answered yet |
//! | [`telemetry`] | the last telemetry of each device, bounded |
//! | [`door`] | the gatekeeper of one MQTT connection, with the evidence of its own handshake |
//! | [`follower`] | changes of the registry, carried to whoever is connected |
//!
//! Whether the registry knows and admits somebody is the registrar's to say ([`crate::registrar`]); how MQTT is spoken is
//! [`crate::mqtt`]'s.

mod commands;
pub mod door;
pub mod follower;
pub mod live;
pub mod telemetry;

pub use door::{Door, Fleet};
pub use follower::Follower;
pub use live::{LiveSessions, OperatorConnections};
