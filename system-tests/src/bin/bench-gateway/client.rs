//! A lean MQTT 5 client over mutual TLS, without resumption. It knows as many packets as the measurements need.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::client::Resumption;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who connects.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) client_id: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credential {
    /// `FOLDER/NAME.crt` and `FOLDER/NAME.key`.
    pub(crate) fn read(folder: &Path, name: &str) -> Result<Self> {
        let certificate = folder.join(format!("{name}.crt"));
        let chain = CertificateDer::pem_file_iter(&certificate)
            .and_then(Iterator::collect)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).context("cannot read a key")?;
        Ok(Self { client_id: name.to_owned(), chain, key })
    }
}

/// The group of the key exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// What every server speaks: for comparison.
    X25519,
    /// What firmware speaks.
    Secp256r1,
    /// What agents on Linux speak to Muster.
    Hybrid,
}

impl Group {
    pub(crate) const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Hybrid];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::Secp256r1 => "secp256r1",
            Self::Hybrid => "x25519mlkem768",
        }
    }

    const fn rustls(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => kx_group::X25519,
            Self::Secp256r1 => kx_group::SECP256R1,
            Self::Hybrid => kx_group::X25519MLKEM768,
        }
    }
}

/// All devices, and the CA of the servers.
#[derive(Debug)]
pub(crate) struct Dialer {
    roots: Arc<RootCertStore>,
    pub(crate) credentials: Vec<Credential>,
}

impl Dialer {
    pub(crate) const fn new(roots: Arc<RootCertStore>, credentials: Vec<Credential>) -> Self {
        Self { roots, credentials }
    }

    /// The TLS configuration of a credential.
    pub(crate) fn configuration(&self, credential: &Credential, group: Group) -> Result<Arc<ClientConfig>> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![group.rustls()];
        let mut configuration = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())?;
        configuration.resumption = Resumption::disabled();
        Ok(Arc::new(configuration))
    }

    /// A session of the device with this number.
    pub(crate) async fn device(&self, index: usize, to: SocketAddr, group: Group) -> Result<Session> {
        let credential = self.credentials.get(index).context("there are not so many devices")?;
        Session::open(to, self.configuration(credential, group)?, &credential.client_id).await
    }
}

/// A packet: its first byte and what stands behind the length.
pub(crate) struct Packet<'a> {
    pub(crate) head: u8,
    pub(crate) body: &'a [u8],
}

/// An open MQTT session.
pub(crate) struct Session {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    /// How much of `input` was looked at.
    taken: usize,
}

impl Session {
    /// TCP, TLS, CONNECT, CONNACK.
    pub(crate) async fn open(to: SocketAddr, tls: Arc<ClientConfig>, client_id: &str) -> Result<Self> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(tls).connect(name, socket).await.context("the handshake failed")?;
        let mut session = Self { stream, input: Vec::new(), taken: 0 };
        let mut body = b"\0\x04MQTT\x05\x02".to_vec();
        body.extend(KEEP_ALIVE_SECS.to_be_bytes());
        body.push(0);
        put_text(&mut body, client_id);
        session.send(&packet(0x10, &body)).await?;
        let answer = session.packet().await?;
        if answer.head != 0x20 || answer.body.get(1) != Some(&0) {
            bail!("CONNECT was answered with {:02x} {:02x?}", answer.head, answer.body);
        }
        Ok(session)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next packet.
    pub(crate) async fn packet(&mut self) -> Result<Packet<'_>> {
        loop {
            if let Some((head, start, end)) = frame(self.input.get(self.taken..).unwrap_or_default()) {
                let (start, end) = (self.taken + start, self.taken + end);
                self.taken = end;
                return Ok(Packet { head, body: &self.input[start..end] });
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    /// SUBSCRIBE with QoS 1, and its answer.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> Result<()> {
        let mut body = vec![0, 1, 0];
        put_text(&mut body, filter);
        body.push(1);
        self.send(&packet(0x82, &body)).await?;
        let answer = self.packet().await?;
        if answer.head != 0x90 || answer.body.last() != Some(&1) {
            bail!("SUBSCRIBE was answered with {:02x} {:02x?}", answer.head, answer.body);
        }
        Ok(())
    }

    /// DISCONNECT and the end of the connection.
    pub(crate) async fn close(mut self) {
        // Whoever is gone already is not asked to go.
        let _ = self.send(&[0xe0, 0]).await;
        let _ = self.stream.shutdown().await;
    }
}

/// A QoS 1 PUBLISH.
pub(crate) fn publish(topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 5);
    put_text(&mut body, topic);
    body.extend(packet_id.to_be_bytes());
    body.push(0);
    body.extend(payload);
    packet(0x32, &body)
}

/// What a QoS 1 PUBLISH brought: packet id and payload.
pub(crate) fn published(body: &[u8]) -> Option<(u16, &[u8])> {
    let topic_bytes = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    let rest = body.get(2 + topic_bytes..)?;
    let packet_id = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
    // Properties shorter than 128 bytes: nobody sends any here.
    let properties_bytes = usize::from(*rest.get(2)?);
    Some((packet_id, rest.get(3 + properties_bytes..)?))
}

pub(crate) fn puback(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).unwrap_or_default();
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    body.extend(text.as_bytes());
}

/// Head, start and end of the first whole packet.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let mut length = 0;
    for (index, digit) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(digit & 0x7f) << (7 * index);
        if digit & 0x80 == 0 {
            let start = index + 2;
            return (bytes.len() >= start + length).then_some((bytes[0], start, start + length));
        }
    }
    None
}

/// Longer than any measurement.
const KEEP_ALIVE_SECS: u16 = 600;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn packets_read_back() {
        let bytes = publish("a/b", 7, &[9; 300]);
        let (head, start, end) = frame(&bytes).unwrap();
        assert_eq!((head, end), (0x32, bytes.len()));
        assert_eq!(published(&bytes[start..end]).unwrap(), (7, &[9; 300][..]));
        assert!(frame(&bytes[..bytes.len() - 1]).is_none());
    }
}
