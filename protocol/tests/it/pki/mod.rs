//! Certificates, chains and requests: what is accepted, and by which code each fault is refused.

mod certificate;
mod chain_client;
mod chain_gateway;
mod chain_issuer;
mod csr;
mod lint;
pub(crate) mod maker;
mod mutation;
mod values;
