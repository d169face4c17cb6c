//! The network on embassy-net: one TCP socket, used for one connection after the other.
//!
//! The socket stays in the stack between connections, so that what was still to be said (the goodbye, the FIN, the
//! reset) is sent by the stack's own task after the agent has gone on.

use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{Error, State, TcpSocket};
use embassy_net::{IpAddress, Stack};
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{ErrorType, Read, Write};

use crate::platform::{Network, NetworkError};

/// Names and connections over one stack.
pub struct StackNetwork<'d> {
    stack: Stack<'d>,
    socket: TcpSocket<'d>,
}

impl<'d> StackNetwork<'d> {
    /// The receive buffer should hold a whole TLS record; twice that lets the gateway go on while one is read.
    #[must_use]
    pub fn new(stack: Stack<'d>, receive: &'d mut [u8], send: &'d mut [u8]) -> Self {
        let mut socket = TcpSocket::new(stack, receive, send);
        // Whole messages are written at once; waiting for more only delays them.
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(UNACKNOWLEDGED_MAX));
        Self { stack, socket }
    }

    async fn resolve(&self, host: &str) -> Result<heapless::Vec<IpAddress, ADDRESSES_MAX>, NetworkError> {
        // An address in text is its own answer, without a query.
        let found = self.stack.dns_query(host, DnsQueryType::A).await.map_err(|_| NetworkError::Name)?;
        if found.is_empty() { Err(NetworkError::Name) } else { Ok(found.iter().take(ADDRESSES_MAX).copied().collect()) }
    }

    /// Lets the connection before end in its own way, for a moment.
    async fn settle(&mut self) {
        if self.socket.state() == State::SynSent {
            // An attempt that was given up.
            self.socket.abort();
        }
        let ended = async {
            while !matches!(self.socket.state(), State::Closed | State::TimeWait) {
                Timer::after(SETTLE_STEP).await;
            }
        };
        if with_timeout(SETTLE_MAX, ended).await.is_err() {
            self.socket.abort();
            // The reset is the stack's to send.
            let _ = with_timeout(SETTLE_STEP, self.socket.flush()).await;
        }
    }
}

impl<'d> Network for StackNetwork<'d> {
    type Socket<'a>
        = StackSocket<'a, 'd>
    where
        Self: 'a;

    async fn connect(&mut self, host: &str, port: u16) -> Result<StackSocket<'_, 'd>, NetworkError> {
        self.settle().await;
        self.stack.wait_config_up().await;
        let addresses = self.resolve(host).await?;
        for address in addresses {
            if self.socket.connect((address, port)).await.is_ok() {
                return Ok(StackSocket(&mut self.socket));
            }
            self.socket.abort();
        }
        Err(NetworkError::Unreachable)
    }
}

/// One connection. Dropping it closes it: what was written is still sent.
pub struct StackSocket<'a, 'd>(&'a mut TcpSocket<'d>);

impl Drop for StackSocket<'_, '_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl ErrorType for StackSocket<'_, '_> {
    type Error = Error;
}

impl Read for StackSocket<'_, '_> {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        self.0.read(target).await
    }
}

impl Write for StackSocket<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes).await
    }

    /// The stack sends by itself. To wait for the acknowledgement would cost a round trip for every message.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// How long a peer may leave data unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// How long the end of the connection before may hold up the next one.
const SETTLE_MAX: Duration = Duration::from_millis(1_000);
const SETTLE_STEP: Duration = Duration::from_millis(10);
const ADDRESSES_MAX: usize = 2;
