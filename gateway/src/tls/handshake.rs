//! One handshake, from an accepted TCP connection to a channel with evidence, or to a refusal that the client can read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::Code;
use muster_protocol::pki::chain::VerifiedClient;
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::record::{HandshakeRecord, Listener, Negotiated, Verdict, alert_text};
use super::verifier::{Finding, civil_now, observed};

/// How one listener shakes hands.
#[derive(Clone, Debug)]
pub struct Handshake {
    config: Arc<ServerConfig>,
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
    pub const fn new(config: Arc<ServerConfig>, listener: Listener) -> Self {
        Self { config, listener }
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
        let accept = TlsAcceptor::from(Arc::clone(&self.config)).accept(socket).into_fallible();
        let (outcome, finding) = observed(timeout_at(deadline, accept)).await;
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
                Err(Refused { socket: Some(socket) })
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
