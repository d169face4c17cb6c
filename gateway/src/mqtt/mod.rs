//! MQTT 3.1.1 and 5 for the gateway.
pub mod codec;
pub mod packet;
pub mod rights;
pub mod topic;
