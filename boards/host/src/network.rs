//! The system's TCP, as the agent wants it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use muster_agent_nostd::platform::{Network, NetworkError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};

/// The system's connections, and its names or those of a file.
#[derive(Clone, Debug)]
pub(crate) struct SystemNetwork {
    /// Lines of an address and a name, read anew for each connection: a name service that fails when a test wants it.
    pub(crate) names: Option<PathBuf>,
}

impl SystemNetwork {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NetworkError> {
        let Some(file) = self.names.as_ref().filter(|_| host.parse::<IpAddr>().is_err()) else {
            return lookup_host((host, port)).await.map(Iterator::collect).map_err(|_| NetworkError::Name);
        };
        let names = std::fs::read_to_string(file).map_err(|_| NetworkError::Name)?;
        let lines = names.lines().filter_map(|line| line.split_once(' '));
        let addresses: Vec<SocketAddr> = lines
            .filter(|(_, name)| *name == host)
            .filter_map(|(address, _)| Some(SocketAddr::new(address.parse().ok()?, port)))
            .collect();
        if addresses.is_empty() { Err(NetworkError::Name) } else { Ok(addresses) }
    }
}

impl Network for SystemNetwork {
    type Socket<'a> = Socket;

    async fn connect(&mut self, host: &str, port: u16) -> Result<Socket, NetworkError> {
        let addresses = self.resolve(host, port).await?;
        for address in addresses {
            if let Ok(stream) = TcpStream::connect(address).await {
                let _ = stream.set_nodelay(true);
                return Ok(Socket(stream));
            }
        }
        Err(NetworkError::Unreachable)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Socket(TcpStream);

/// What the system said.
#[derive(Debug)]
pub(crate) struct SocketError(io::ErrorKind);

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SocketError {}

impl embedded_io_async::Error for SocketError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        Self(error.kind())
    }
}

impl ErrorType for Socket {
    type Error = SocketError;
}

impl Read for Socket {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, SocketError> {
        Ok(self.0.read(target).await?)
    }
}

impl Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, SocketError> {
        Ok(self.0.write(bytes).await?)
    }

    async fn flush(&mut self) -> Result<(), SocketError> {
        Ok(self.0.flush().await?)
    }
}
