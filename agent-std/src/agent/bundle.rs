//! The newest trust bundle from the open address: `GET https://HOST:PORT/.well-known/muster/bundle`.
//!
//! The content is signed by the fleet root and checked by the core, so nothing of TLS is trusted here: this is for a
//! device whose trust is out of date. HTTP/1.1 (RFC 9112) as little as that takes: one request, `Connection: close`,
//! a bounded answer with a Content-Length or up to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::limits::TRUST_BUNDLE_BYTES_MAX;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::records::Gateway;
use crate::tls::provider;

/// The bundle of the first gateway that has one; `None` when none has.
pub(super) async fn fetch(gateways: Vec<Gateway>, patience: Duration) -> Option<Vec<u8>> {
    let each = patience / u32::try_from(gateways.len().max(1)).unwrap_or(1);
    for gateway in gateways {
        match timeout(each, fetch_from(&gateway)).await {
            Ok(Ok(bundle)) => return Some(bundle),
            Ok(Err(error)) => debug!(event = "bundle.fetch_failed", host = gateway.host, error = %error),
            Err(_) => debug!(event = "bundle.fetch_failed", host = gateway.host, error = "timeout"),
        }
    }
    None
}

async fn fetch_from(gateway: &Gateway) -> io::Result<Vec<u8>> {
    let Gateway { host, https_port, .. } = gateway;
    let tcp = TcpStream::connect((host.as_str(), *https_port)).await?;
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::new(config()?)).connect(name, tcp).await?;
    let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {shown}:{https_port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let answer = read_answer(&mut stream).await?;
    body(&answer).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("not a usable HTTP answer"))
}

/// Reads until the announced length, the end of the stream, or the bound.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        let room = ANSWER_BYTES_MAX - answer.len();
        if room == 0 || is_complete(&answer) {
            return Ok(answer);
        }
        match stream.take(room as u64).read_buf(&mut answer).await {
            Ok(0) => return Ok(answer),
            Ok(_) => {}
            // A server that closes without TLS's own goodbye; the length, and the signature, tell whether all is there.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(answer),
            Err(error) => return Err(error),
        }
    }
}

fn is_complete(answer: &[u8]) -> bool {
    match split(answer) {
        Some((head, body)) => content_length(head).is_some_and(|length| body.len() >= length),
        None => false,
    }
}

/// The content of a 200 answer, complete and not longer than a bundle may be.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let (head, body) = split(answer)?;
    let status = head.split("\r\n").next()?;
    let is_ok = status.starts_with("HTTP/1.1 200 ") || status == "HTTP/1.1 200";
    let is_plain = field(head, "transfer-encoding").is_none() && field(head, "content-encoding").is_none();
    let body = match content_length(head) {
        Some(length) => body.get(..length)?,
        None if field(head, "content-length").is_some() => return None,
        None => body,
    };
    (is_ok && is_plain && !body.is_empty() && body.len() <= TRUST_BUNDLE_BYTES_MAX).then_some(body)
}

fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    Some((std::str::from_utf8(head).ok()?, body.get(4..)?))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn content_length(head: &str) -> Option<usize> {
    field(head, "content-length")?.parse().ok()
}

fn config() -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_protocol_versions(&[&version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unjudged))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any server: what it serves is judged by its own signature.
#[derive(Debug)]
struct Unjudged;

impl ServerCertVerifier for Unjudged {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is never offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

const PATH: &str = "/.well-known/muster/bundle";
/// A bundle and generous header fields.
const ANSWER_BYTES_MAX: usize = TRUST_BUNDLE_BYTES_MAX + 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_plain_answer_has_a_bundle() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some("abc")),
            ("HTTP/1.1 200 OK\r\ncontent-length:3\r\nX: y\r\n\r\nabcd", Some("abc")),
            ("HTTP/1.1 200 OK\r\n\r\nabc", Some("abc")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", None),
            ("", None),
        ] {
            assert_eq!(body(answer.as_bytes()), expected.map(str::as_bytes), "{answer:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(TRUST_BUNDLE_BYTES_MAX + 1));
        assert_eq!(body(long.as_bytes()), None);
    }

    #[tokio::test]
    async fn an_endless_answer_ends_at_the_bound() {
        let answer = read_answer(&mut tokio::io::repeat(b'x')).await.unwrap();
        assert!(answer.len() <= ANSWER_BYTES_MAX && body(&answer).is_none());
    }
}
