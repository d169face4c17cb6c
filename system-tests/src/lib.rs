//! Worlds with both ends: simulated and live.
//!
//! | module | what |
//! |---|---|
//! | [`world`] | the simulated world: one virtual clock, one source of chance, both cores |
//! | [`plan`], [`event`], [`history`] | what a seed means, what can happen, what happened |
//! | [`board`], [`flash`] | a simulated device: power, clock, store, connection |
//! | [`gateway`], [`registry`] | the simulated gateway: sessions, store, CAs |
//! | [`live`], [`firmware`] | the real programs as processes, the firmware agent on an emulated board |
//! | [`link`] | the network between them |
//! | [`seeds`], [`cuts`] | many histories; the power cut at every byte of one life |
//! | [`invariant`] | what must always hold |
//! | [`test_pki`] | keys, certificates and bundles for all of it |
//! | [`corpus`] | good and bad chains for every judge of chains |
//! | [`rogue`] | hostile TLS servers |
//! | [`contract`] | what every implementation of a seam must keep |

pub mod board;
pub mod contract;
pub mod corpus;
pub mod cuts;
mod device_end;
pub mod event;
pub mod firmware;
pub mod flash;
pub mod gateway;
mod gateway_end;
pub mod history;
pub mod invariant;
pub mod link;
pub mod live;
pub mod plan;
pub mod random;
pub mod registry;
pub mod rogue;
pub mod seeds;
pub mod test_pki;
pub mod world;
