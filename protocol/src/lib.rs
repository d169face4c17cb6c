//! The sans-io core of Muster.
//!
//! Names, formats, certificates, slots, the device lifecycle and the gateway's registrar live here. No socket, file,
//! clock, randomness, allocation or log sink does: time, entropy and key operations are arguments or inputs, so the
//! same code runs in a Linux agent, in the gateway, in a simulated world and on a microcontroller without a heap.
//!
//! | module | what |
//! |---|---|
//! | [`limits`] | every bound of every format |
//! | [`alpn`] | what small clients offer by ALPN |
//! | [`device_id`], [`topic`], [`time`], [`code`] | names, topics, time, refusal codes |
//! | [`pki`] | keys, CSRs, certificates, chains, trust anchors, the profile lint |
//! | [`message`] | control messages, reports, commands, the factory's line: postcard in a versioned envelope |
//! | [`trust`] | the trust bundle and the pins of the fleet root |
//! | [`manifest`] | the shipment manifest |
//! | [`slot`] | stored records of the two credential slots |
//! | [`device`] | the device's state machine |
//! | [`registrar`] | the gateway's counterpart, one machine per device |
#![no_std]

pub mod alpn;
pub mod code;
pub mod device;
pub mod device_id;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod pki;
pub mod registrar;
pub mod signed;
pub mod slot;
pub mod time;
pub mod topic;
pub mod trust;

pub use code::{Code, Disposition};
pub use device_id::{DeviceId, FleetId, Identity, Name, NameError};
pub use time::{Millis, UnixTime};
