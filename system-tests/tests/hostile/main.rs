//! The firmware agent's TLS guard against servers that mean harm, on the host, over real sockets; and one corpus of
//! chains before every judge of the system. What the agent does with a refusal is tested elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cancel;
mod device;
mod judges;
mod late;
mod mutated;
mod servers;
mod small_records;
mod turns;
