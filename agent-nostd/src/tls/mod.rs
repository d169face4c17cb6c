//! The TLS guard: TLS 1.3 (RFC 9846) to the gateway, and the only place that names embedded-tls.
//!
//! The library is small and heap-free, and believes too much. It is used for keys, transcript and records; what a peer
//! may do is decided around it, and nothing else in the agent can construct a connection:
//!
//! | file | closes |
//! |---|---|
//! | `gate` | reads that lose bytes when cancelled; empty, oversized, unencrypted records |
//! | `server_hello` | another suite, version or group than was offered; HelloRetryRequest |
//! | `suite`, `flight` | a Finished without a certificate; messages split, repeated or out of order; a parser after the handshake that panics and forgets alerts |
//! | `verifier`, `shown` | a certificate check that takes a device for a gateway: here [`verify_gateway`](muster_protocol::pki::verify_gateway) decides, as in the Linux agent |
//! | `questions` | checks of signatures deep on the stack, and one after the other without a turn for the network |
//! | `provider` | a verifier that is skipped when it is not there; a key that signs for a stranger |
//! | `stream` | writes that are dropped half way; sockets that outlive a failure |
//!
//! One suite (TLS_AES_128_GCM_SHA256), one group (secp256r1), one signature (ecdsa_secp256r1_sha256). Nothing is resumed
//! and no key is updated. The server's handshake messages have to lie whole in their records, which the gateway keeps
//! small for clients that offer [`alpn::SMALL_RECORDS`].

mod alert;
mod error;
mod flight;
mod gate;
mod link;
mod provider;
mod questions;
mod server_hello;
mod shown;
mod stream;
mod suite;
mod verifier;

use core::cell::RefCell;
use core::future::poll_fn;
use core::net::IpAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use embassy_futures::yield_now;
use embassy_time::{Instant, with_deadline};
use embedded_io_async::{Read, Write};
use embedded_tls::{FlushPolicy, MaxFragmentLength, TlsCipherSuite, TlsConfig, TlsConnection, TlsContext, TlsError};
use muster_protocol::limits::{CERTIFICATE_BYTES_MAX, HOST_BYTES_MAX};
use muster_protocol::pki::{GatewayClock, Signature, VerifiedGateway};
use muster_protocol::{Code, alpn};
use rand_core::CryptoRngCore;
use rustls_pki_types::SignatureVerificationAlgorithm;

pub use error::{Breach, GuardError};
pub use stream::{GuardedLine, GuardedStream, UnjudgedLine, UnjudgedStream};

use alert::Alert;
use gate::Gate;
use link::{Fault, Link, Phase};
use provider::{Provider, Showing};
use shown::Shown;
use stream::Records;
use suite::GuardedSuite;
use verifier::{Judge, Verifier};

/// Longest payload of a record that can be read: 2 KiB of content with its type, padding and tag, or 16 KiB with the
/// feature `records-16k`.
pub const READ_RECORD_BYTES: usize = if cfg!(feature = "records-16k") { 16_640 } else { 2_304 };
/// Longest record that is written: a client certificate of the longest size, or 1 KiB of content.
pub const WRITE_RECORD_BYTES: usize = CERTIFICATE_BYTES_MAX + 128;
/// Longest chain of certificates that can be judged: all that fits a flight in a record of 2 KiB.
pub const CHAIN_BYTES: usize = 2_048;
/// What the agent offers by ALPN (RFC 7301): a server that knows the first one keeps its records to 2 KiB.
const ALPN_MQTT: &[&[u8]] = &[alpn::SMALL_RECORDS, b"mqtt"];
/// The same toward an HTTPS server.
const ALPN_HTTP: &[&[u8]] = &[alpn::SMALL_RECORDS, b"http/1.1"];

/// Memory of one connection: give it a static place, it is too large for a stack.
pub struct Buffers {
    read: [u8; READ_RECORD_BYTES],
    write: [u8; WRITE_RECORD_BYTES],
    link: Link,
}

impl Buffers {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { read: [0; READ_RECORD_BYTES], write: [0; WRITE_RECORD_BYTES], link: Link::new() }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Whom we expect at the other end.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// DNS name or IP address that was dialled.
    pub name: &'a str,
    /// The gateway CAs of the trust bundle in force, DER.
    pub gateway_cas: &'a [&'a [u8]],
    /// What is known of the date.
    pub clock: GatewayClock,
    /// ECDSA P-256 with SHA-256: `muster_protocol::pki::ECDSA_P256_SHA256`, or a faster one of the board.
    pub algorithm: &'a dyn SignatureVerificationAlgorithm,
}

/// With which certificate, and whose key. The key stays behind the closure: in flash, or in a secure element.
pub struct Credential<'a> {
    /// The leaf, DER. The gateway holds the CA that issued it.
    pub certificate: &'a [u8],
    /// Signs a message, not hashed yet, with the leaf's key: ECDSA P-256 over its SHA-256. `None` when the key fails.
    pub sign: &'a mut dyn FnMut(&[u8]) -> Option<Signature>,
}

/// A connection over which nobody has shaken hands yet: nothing can be read or written. It is large, so it stays where
/// it is made, and lends the stream.
pub struct Line<'b, S>(Records<'b, S>)
where
    S: Read + Write;

impl<'b, S> Line<'b, S>
where
    S: Read + Write + 'b,
{
    /// Over an open connection. `socket` is dropped with this, or with the first failure. It is made in its place: on the
    /// way there it is on the stack only as long as this takes.
    #[inline(never)]
    pub fn start<'p>(place: &'p mut Option<Self>, socket: S, buffers: &'b mut Buffers) -> &'p mut Self {
        place.insert(Self(Records::new(socket, buffers)))
    }

    /// Shakes hands, mutually; once. `room` is for the chain that is shown: [`CHAIN_BYTES`], or more where servers may
    /// show more.
    ///
    /// The evidence is of this very handshake. In TLS 1.3 the gateway judges the client after this: its refusal is
    /// [`GuardError::Refused`] of the first read.
    pub async fn connect(
        &mut self,
        expected: &Expected<'_>,
        credential: Credential<'_>,
        room: &mut [u8],
        rng: &mut dyn CryptoRngCore,
        deadline: Instant,
    ) -> Result<(GuardedLine<'_, 'b, S>, VerifiedGateway), GuardError> {
        let gateway = self.0.shake(expected, credential, room, rng, deadline).await?;
        Ok((GuardedLine(&mut self.0), gateway))
    }

    /// Opens an encrypted connection to a server that is not judged, as [`open_unjudged`] does; once.
    pub async fn open_unjudged(
        &mut self,
        name: &str,
        rng: &mut dyn CryptoRngCore,
        deadline: Instant,
    ) -> Result<UnjudgedLine<'_, 'b, S>, GuardError> {
        self.0.open_unjudged(name, rng, deadline).await?;
        Ok(UnjudgedLine(&mut self.0))
    }
}

/// Shakes hands over an open connection, mutually. Whatever else happens, `socket` is dropped. For hosts; where stacks are
/// small, [`Line`] does the same in place.
pub async fn connect<'b, S>(
    socket: S,
    buffers: &'b mut Buffers,
    expected: &Expected<'_>,
    credential: Credential<'_>,
    rng: &mut dyn CryptoRngCore,
    deadline: Instant,
) -> Result<(GuardedStream<'b, S>, VerifiedGateway), GuardError>
where
    S: Read + Write + 'b,
{
    let mut records = Records::new(socket, buffers);
    let mut room = [0; CHAIN_BYTES];
    let gateway = records.shake(expected, credential, &mut room, rng, deadline).await?;
    Ok((GuardedStream(records), gateway))
}

/// Opens an encrypted connection to a server that is not judged, and shows it nothing: for the signed trust bundle from
/// the open address, by which a device whose trust is out of date catches up.
pub async fn open_unjudged<'b, S>(
    socket: S,
    buffers: &'b mut Buffers,
    name: &str,
    rng: &mut dyn CryptoRngCore,
    deadline: Instant,
) -> Result<UnjudgedStream<'b, S>, GuardError>
where
    S: Read + Write + 'b,
{
    let mut records = Records::new(socket, buffers);
    records.open_unjudged(name, rng, deadline).await?;
    Ok(UnjudgedStream(records))
}

impl<'b, S> Records<'b, S>
where
    S: Read + Write + 'b,
{
    fn new(socket: S, buffers: &'b mut Buffers) -> Self {
        buffers.link.reset();
        let Buffers { read, write, link } = buffers;
        let link: &'b Link = link;
        let gate = Gate::new(socket, link, read.len(), GuardedSuite::CODE_POINT);
        let mut tls = TlsConnection::new(gate, read, write);
        // The stack sends by itself; to wait for acknowledgements is the application's.
        tls.set_flush_policy(FlushPolicy::Relaxed);
        Self { tls: Some(tls), link, end: None, is_writing: false }
    }

    async fn shake(
        &mut self,
        expected: &Expected<'_>,
        credential: Credential<'_>,
        room: &mut [u8],
        rng: &mut dyn CryptoRngCore,
        deadline: Instant,
    ) -> Result<VerifiedGateway, GuardError> {
        if credential.certificate.len() > CERTIFICATE_BYTES_MAX || room.len() < CHAIN_BYTES {
            self.tls = None;
            return Err(GuardError::Misused);
        }
        let shown = RefCell::new(Shown::new(room));
        let verifier = Verifier { judge: Judge::Guard, link: self.link, shown: &shown };
        let mut provider = Provider { verifier, rng, credential: Some(credential), showing: Showing::NotAsked };
        self.open(expected.name, ALPN_MQTT, Some(expected), &mut provider, deadline).await?;
        let error = match (shown.borrow().evidence(), provider.showing) {
            (Some(gateway), Showing::Shown) => return Ok(gateway),
            (_, Showing::KeyFailed) => GuardError::Key,
            (Some(_), Showing::NotAsked) => GuardError::Breach(Breach::NotMutual),
            // Cannot be: the flight was in order. If it ever is, nobody was verified.
            (None, _) => GuardError::Breach(Breach::Flight),
        };
        self.tls = None;
        Err(error)
    }

    async fn open_unjudged(
        &mut self,
        name: &str,
        rng: &mut dyn CryptoRngCore,
        deadline: Instant,
    ) -> Result<(), GuardError> {
        let shown = RefCell::new(Shown::new(&mut []));
        let verifier = Verifier { judge: Judge::Nobody, link: self.link, shown: &shown };
        let mut provider = Provider { verifier, rng, credential: None, showing: Showing::NotAsked };
        self.open(name, ALPN_HTTP, None, &mut provider, deadline).await
    }

    /// Shakes hands until `deadline`; a peer is judged when somebody is `expected`. An error leaves no socket behind.
    async fn open(
        &mut self,
        name: &str,
        alpn: &[&[u8]],
        expected: Option<&Expected<'_>>,
        provider: &mut Provider<'_, '_, '_>,
        deadline: Instant,
    ) -> Result<(), GuardError> {
        if self.link.phase() != Phase::ServerHello {
            // Hands were shaken already, well or badly.
            self.tls = None;
        }
        let Some(tls) = &mut self.tls else { return Err(GuardError::Closed) };
        if name.len() > HOST_BYTES_MAX {
            self.tls = None;
            return Err(GuardError::Misused);
        }
        let mut config = TlsConfig::new().with_alpn(alpn);
        if !cfg!(feature = "records-16k") {
            config = config.with_max_fragment_length(MaxFragmentLength::Bits11);
        }
        // An address is no server name (RFC 6066, section 3).
        if name.parse::<IpAddr>().is_err() {
            config = config.with_server_name(name);
        }
        let (link, shown) = (self.link, provider.verifier.shown);
        let outcome = {
            let mut opening = pin!(with_deadline(deadline, tls.open(TlsContext::new(&config, &mut *provider))));
            loop {
                let outcome = until_held(opening.as_mut(), link).await;
                while let (true, Some(expected)) = (link.is_held(), expected) {
                    judge(shown, expected, link);
                    yield_now().await;
                }
                let is_refused = shown.borrow().refusal().is_some();
                if outcome.is_some() || is_refused {
                    break outcome;
                }
            }
        };
        let (is_authenticated, refusal) = (shown.borrow().is_authenticated(), shown.borrow().refusal());
        let error = match (outcome, refusal, link.fault()) {
            (Some(Ok(Ok(()))), None, None) if is_authenticated => {
                link.enter(Phase::Established);
                return Ok(());
            }
            (_, Some(Code::SessionHandshake), _) => GuardError::Breach(Breach::Flight),
            (_, Some(code), _) => GuardError::GatewayUntrusted(code),
            (_, None, Some(Fault::Breach(breach))) => GuardError::Breach(breach),
            (_, None, Some(Fault::Alert(description))) => Alert::of(description).as_handshake_error(),
            (_, None, Some(Fault::Broken)) => GuardError::Broken,
            (Some(Err(_)), ..) => GuardError::Timeout,
            (Some(Ok(Err(TlsError::CryptoError))), ..) => GuardError::Breach(Breach::Flight),
            (Some(Ok(Err(TlsError::EncodeError))), ..) => GuardError::Misused,
            (Some(Ok(Err(_))), ..) => GuardError::Breach(Breach::Handshake),
            (Some(Ok(Ok(()))) | None, ..) => GuardError::Breach(Breach::Flight),
        };
        self.tls = None;
        Err(error)
    }
}

/// The outcome of the handshake; `None` when something was shown that has to be judged before it goes on.
async fn until_held<F: Future>(mut opening: Pin<&mut F>, link: &Link) -> Option<F::Output> {
    // The library's frames are large, and are not to stay below the verdict's.
    #[inline(never)]
    fn poll<F: Future>(opening: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        opening.poll(context)
    }
    poll_fn(|context| match poll(opening.as_mut(), context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if link.is_held() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// One step toward the verdict.
fn judge(shown: &RefCell<Shown<'_>>, expected: &Expected<'_>, link: &Link) {
    match shown.try_borrow_mut() {
        Ok(mut shown) => shown.judge(expected, link),
        // Cannot be: the library, which has it otherwise, waits.
        Err(_) => {
            link.fail(Fault::Breach(Breach::Flight));
            link.release();
        }
    }
}
