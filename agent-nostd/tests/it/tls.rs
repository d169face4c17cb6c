//! What the guard costs in memory. What it refuses is tested over sockets, with servers that rustls may help to build, in
//! `system-tests/tests/hostile`.

#![allow(clippy::unwrap_used)]

use core::convert::Infallible;
use std::mem::{size_of, size_of_val};

use embassy_time::Instant;
use embedded_io_async::{ErrorType, Read, Write};
use muster_agent_nostd::tls::{
    Buffers, CHAIN_BYTES, Credential, Expected, GuardedStream, READ_RECORD_BYTES, WRITE_RECORD_BYTES, connect,
};
use muster_protocol::UnixTime;
use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock};

use crate::fuzz::targets::server::Seeded;

struct Nowhere;

impl ErrorType for Nowhere {
    type Error = Infallible;
}

impl Read for Nowhere {
    async fn read(&mut self, _target: &mut [u8]) -> Result<usize, Infallible> {
        Ok(0)
    }
}

impl Write for Nowhere {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// On a 64-bit host; a microcontroller's pointers make it smaller. The large buffers are the caller's, and static.
#[test]
fn a_connection_is_small_beside_its_buffers() {
    let stream = size_of::<GuardedStream<'_, Nowhere>>();
    let mut buffers = Box::new(Buffers::new());
    let expected = Expected {
        name: "gateway.test",
        gateway_cas: &[],
        clock: GatewayClock { floor: UnixTime(0), civil: None },
        algorithm: ECDSA_P256_SHA256,
    };
    let credential = Credential { certificate: &[], sign: &mut |_| None };
    let mut rng = Seeded::new();
    let handshake = size_of_val(&connect(Nowhere, &mut buffers, &expected, credential, &mut rng, Instant::MAX));
    let static_bytes = size_of::<Buffers>();
    eprintln!("buffers {static_bytes}, stream {stream}, future of a handshake {handshake}");
    assert!(static_bytes <= READ_RECORD_BYTES + WRITE_RECORD_BYTES + 16, "{static_bytes}");
    assert!(stream <= 1_600, "{stream}");
    // This way of shaking hands brings the room for the chain along; in firmware the core lends it.
    assert!(handshake <= 4_000 + CHAIN_BYTES, "{handshake}");
}
