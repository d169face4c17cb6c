//! The device's end: a host socket under the real guard.

use std::cell::Cell;
use std::net::SocketAddr;

use embassy_time::{Duration, Instant};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use muster_agent_nostd::tls::{self, Buffers, Credential, Expected, GuardError, GuardedStream};
use muster_protocol::UnixTime;
use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock, VerifiedGateway};
use muster_system_tests::test_pki::TestKey;
use rand_core::OsRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A host socket as firmware knows sockets.
pub(crate) struct Socket(pub(crate) TcpStream);

/// The host's error, without its reason.
#[derive(Debug)]
pub(crate) struct Lost;

impl core::fmt::Display for Lost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("lost")
    }
}

impl std::error::Error for Lost {}

impl embedded_io_async::Error for Lost {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionReset
    }
}

impl ErrorType for Socket {
    type Error = Lost;
}

impl Read for Socket {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Lost> {
        self.0.read(target).await.map_err(|_| Lost)
    }
}

impl Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        self.0.write(bytes).await.map_err(|_| Lost)
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        self.0.flush().await.map_err(|_| Lost)
    }
}

/// What a device brings to a handshake.
pub(crate) struct Device<'a> {
    pub(crate) name: &'a str,
    pub(crate) gateway_cas: &'a [&'a [u8]],
    pub(crate) now: UnixTime,
    pub(crate) certificate: &'a [u8],
    pub(crate) key: &'a TestKey,
    pub(crate) patience_millis: u64,
    /// How often the key was asked to sign.
    pub(crate) signed: Cell<u32>,
}

impl Device<'_> {
    /// Shakes hands over a socket.
    pub(crate) async fn shake<'b, S: Read + Write + 'b>(
        &self,
        socket: S,
        buffers: &'b mut Buffers,
    ) -> Result<(GuardedStream<'b, S>, VerifiedGateway), GuardError> {
        let expected = Expected {
            name: self.name,
            gateway_cas: self.gateway_cas,
            clock: GatewayClock { floor: self.now, civil: Some(self.now) },
            algorithm: ECDSA_P256_SHA256,
        };
        let mut sign = |message: &[u8]| {
            self.signed.set(self.signed.get() + 1);
            Some(self.key.sign(message))
        };
        let credential = Credential { certificate: self.certificate, sign: &mut sign };
        let deadline = Instant::now() + Duration::from_millis(self.patience_millis);
        tls::connect(socket, buffers, &expected, credential, &mut OsRng, deadline).await
    }

    /// Connects, and shakes hands.
    pub(crate) async fn connect<'b>(
        &self,
        peer: SocketAddr,
        buffers: &'b mut Buffers,
    ) -> Result<(GuardedStream<'b, Socket>, VerifiedGateway), GuardError> {
        let socket = Socket(TcpStream::connect(peer).await.unwrap());
        self.shake(socket, buffers).await
    }
}
