//! The factory line: the PKI ceremony, device identities (IDevID, IEEE 802.1AR), the signed shipment manifest, and the
//! offline signature of trust bundles.
//!
//! | module | what |
//! |---|---|
//! | [`ceremony`] | the factory root and the issuing CA, made once |
//! | [`serial`] | serial numbers handed out, so that no two devices ever share one |
//! | [`ledger`] | which key has which name, and how far each board is |
//! | [`batch`] | N identities and their manifest, resumable |
//! | [`station`] | a blank board becomes a device over its serial line |
//! | [`manifest`] | reading and checking a manifest |
//! | [`bundle`] | drafts of trust bundles, and signing them |
//! | [`command`] | the command line |
//!
//! Nothing here speaks to a gateway: what it needs from one is in the fleet file.

pub mod batch;
pub mod bundle;
pub mod ceremony;
pub mod command;
pub mod ledger;
pub mod manifest;
pub mod serial;
pub mod station;
