//! One handshake, from an accepted TCP connection to a channel with evidence, or to a refusal that the client can read.
//!
//! A client that offers [`alpn::SMALL_RECORDS`] gets records of 2 KiB at most, and the whole encrypted flight in one of
//! them: firmware has no room for more. All others get the usual 16 KiB.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::pki::chain::VerifiedClient;
use muster_protocol::{Code, alpn};
use rustls::server::{Acceptor, ClientHello};
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::record::{HandshakeRecord, Listener, Negotiated, Verdict, alert_text};
use super::verifier::{Finding, civil_now, observed};

/// How one listener shakes hands.
#[derive(Clone, Debug)]
pub struct Handshake {
    config: Arc<ServerConfig>,
    small: Arc<ServerConfig>,
    listener: Listener,
}

/// A channel that stands.
#[derive(Debug)]
pub struct Established<S> {
    /// The channel.
    pub stream: TlsStream<S>,
    /// Who is at the other end; `None` where a listener lets clients stay without a certificate.
    pub client: Option<Box<VerifiedClient>>,
}

/// A connection that was refused.
#[derive(Debug)]
pub struct Refused<S> {
    socket: Option<S>,
}

impl Handshake {
    /// Handshakes of one listener.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, listener: Listener) -> Self {
        let mut small = ServerConfig::clone(&config);
        small.max_fragment_size = Some(alpn::SMALL_RECORD_BYTES);
        small.alpn_protocols = vec![alpn::SMALL_RECORDS.to_vec()];
        Self { config, small: Arc::new(small), listener }
    }

    fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_small = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == alpn::SMALL_RECORDS));
        Arc::clone(if is_small { &self.small } else { &self.config })
    }

    /// The handshake itself; a failure gives the socket back where it is still there.
    async fn accept<S>(&self, socket: S) -> Result<TlsStream<S>, (io::Error, Option<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), socket);
        let start = match Pin::new(&mut hello).await {
            Ok(start) => start,
            Err(error) => return Err((error, hello.take_io())),
        };
        let config = self.config_for(&start.client_hello());
        start.into_stream(config).into_fallible().await.map_err(|(error, socket)| (error, Some(socket)))
    }

    /// Shakes hands until `deadline`. The record tells how it ended, in either case; writing it is the caller's.
    pub async fn run<S>(
        &self,
        socket: S,
        peer: SocketAddr,
        deadline: tokio::time::Instant,
    ) -> (Result<Established<S>, Refused<S>>, HandshakeRecord)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (at, began) = (civil_now(), Instant::now());
        let (outcome, finding) = observed(timeout_at(deadline, self.accept(socket))).await;
        let mut record = HandshakeRecord { at, duration: began.elapsed(), ..self.record(peer) };
        let outcome = match outcome {
            Ok(Ok(stream)) => {
                record.negotiated = Negotiated::of(stream.get_ref().1);
                let client = match finding {
                    Finding::Client(client) => Some(client),
                    Finding::Nothing | Finding::Refused(..) => None,
                };
                record.client = client.as_deref().cloned();
                Ok(Established { stream, client })
            }
            Ok(Err((error, socket))) => {
                record.verdict = Verdict::Refused(code_of(&finding, &error));
                record.why = Some(why(&error));
                record.is_hang_up = finding == Finding::Nothing && tls_error(&error).is_none();
                if let Finding::Refused(_, claim) = finding {
                    record.claim = claim;
                }
                Err(Refused { socket })
            }
            Err(_elapsed) => {
                record.verdict = Verdict::Refused(Code::SessionTimeout);
                Err(Refused { socket: None })
            }
        };
        (outcome, record)
    }

    /// The record of a connection that never said a word.
    #[must_use]
    pub fn timed_out(&self, peer: SocketAddr) -> HandshakeRecord {
        let verdict = Verdict::Refused(Code::SessionTimeout);
        HandshakeRecord { verdict, is_hang_up: true, ..self.record(peer) }
    }

    fn record(&self, peer: SocketAddr) -> HandshakeRecord {
        HandshakeRecord {
            at: civil_now(),
            listener: self.listener,
            peer,
            negotiated: Negotiated::default(),
            client: None,
            claim: None,
            duration: Duration::ZERO,
            verdict: Verdict::Accepted,
            why: None,
            is_hang_up: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Refused<S> {
    /// Closes the connection so that the client can read the alert: a socket that is closed with unread bytes in it is
    /// reset, and a reset takes back what was sent. A TLS 1.3 client may have sent its first request already.
    pub async fn close(self) {
        let Some(mut socket) = self.socket else { return };
        let drain = async {
            socket.shutdown().await?;
            let mut scrap = [0; 1024];
            let mut left_bytes = LINGER_BYTES_MAX;
            while left_bytes > 0 {
                match socket.read(&mut scrap).await? {
                    0 => break,
                    count => left_bytes = left_bytes.saturating_sub(count),
                }
            }
            Ok::<(), io::Error>(())
        };
        let _ = timeout(LINGER_MAX, drain).await;
    }
}

fn code_of(finding: &Finding, error: &io::Error) -> Code {
    match (finding, tls_error(error)) {
        (Finding::Refused(code, _), _) => *code,
        (_, Some(Error::NoCertificatesPresented)) => Code::CertificateMissing,
        _ => Code::SessionHandshake,
    }
}

fn why(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => alert_text(*alert),
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// How long a refused client may take to read why.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// How much of what it sent meanwhile is read.
const LINGER_BYTES_MAX: usize = 64 * 1024;
