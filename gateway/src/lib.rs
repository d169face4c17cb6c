//! The Muster gateway: mTLS MQTT endpoint, registrar, issuing CA, HTTPS API and console.

pub mod admin;
pub mod audit;
pub mod clock;
pub mod command;
pub mod config;
pub mod console;
pub mod directory;
pub mod fleet;
pub mod https;
pub mod init;
pub mod issuer;
pub mod limit;
pub mod manifest;
pub mod mqtt;
pub mod registrar;
pub mod server;
pub mod server_certificate;
pub mod store;
pub mod tls;
pub mod trail;
