//! The Muster gateway: mTLS MQTT endpoint, registrar, issuing CA, HTTPS API and console.

pub mod audit;
pub mod store;
