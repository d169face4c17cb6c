//! One end of TLS 1.3 (RFC 9846) as a server that does as it is told: every message can be left out, repeated, damaged,
//! split or sent in the wrong place. P-256, AES-128-GCM, SHA-256 and nothing else; one thread, blocking.

use std::io::{self, Read, Write};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use p256::ecdh::EphemeralSecret;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rand_core::OsRng;
use sha2::{Digest, Sha256};

use crate::test_pki::TestKey;

/// Content types.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// An alert.
pub const ALERT: u8 = 21;
/// Handshake messages.
pub const HANDSHAKE: u8 = 22;
/// Data, and whatever is encrypted.
pub const DATA: u8 = 23;

/// What a server's CertificateVerify signs, behind 64 spaces.
pub const SERVER_CONTEXT: &str = "TLS 1.3, server CertificateVerify";
/// ecdsa_secp256r1_sha256.
pub const ECDSA_P256: u16 = 0x0403;

/// The keys of one direction.
struct Keys {
    cipher: Aes128Gcm,
    iv: [u8; 12],
    secret: [u8; 32],
    count: u64,
}

impl Keys {
    fn new(secret: [u8; 32]) -> Self {
        let key: [u8; 16] = expand(&secret, "key", &[]);
        Self { cipher: Aes128Gcm::new(&key.into()), iv: expand(&secret, "iv", &[]), secret, count: 0 }
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count += 1;
        nonce
    }
}

/// A ServerHello, with everything that can be wrong about it.
#[derive(Clone, Debug)]
pub struct Hello {
    /// legacy_version.
    pub version: u16,
    /// 32 bytes.
    pub random: [u8; 32],
    /// legacy_session_id_echo.
    pub session_id: Vec<u8>,
    /// The suite.
    pub suite: u16,
    /// The compression method.
    pub compression: u8,
    /// supported_versions; none for TLS 1.2.
    pub selected: Option<u16>,
    /// The group of the key share; the share itself is of P-256.
    pub group: u16,
    /// Whether the share is damaged.
    pub share: Share,
    /// More extensions.
    pub more: Vec<u8>,
}

/// The key share of a ServerHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Share {
    /// As it should be.
    Good,
    /// No point on the curve.
    OffCurve,
    /// None.
    Missing,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 0x0303,
            random: [7; 32],
            session_id: vec![],
            suite: 0x1301,
            compression: 0,
            selected: Some(0x0304),
            group: 0x0017,
            share: Share::Good,
            more: vec![],
        }
    }
}

/// A server's end of one connection.
pub struct Tls<T> {
    io: T,
    transcript: Sha256,
    client_share: p256::PublicKey,
    master: [u8; 32],
    ours: Option<Keys>,
    theirs: Option<Keys>,
}

impl<T: Read + Write> Tls<T> {
    /// Reads the ClientHello.
    ///
    /// # Errors
    /// When there is none, or it has no P-256 share.
    pub fn accept(mut io: T) -> io::Result<Self> {
        let (kind, hello) = read_record(&mut io)?;
        let share = client_share(&hello).filter(|_| kind == HANDSHAKE);
        let client_share = share.ok_or_else(|| io::Error::other("no ClientHello with a P-256 share"))?;
        let transcript = Sha256::new_with_prefix(&hello);
        Ok(Self { io, transcript, client_share, master: [0; 32], ours: None, theirs: None })
    }

    /// The socket, for bytes that are no TLS.
    pub const fn raw(&mut self) -> &mut T {
        &mut self.io
    }

    /// A ServerHello as a handshake message. From here on records can be sealed.
    #[must_use]
    pub fn hello(&mut self, hello: &Hello) -> Vec<u8> {
        let secret = EphemeralSecret::random(&mut OsRng);
        let mut point = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        if hello.share == Share::OffCurve {
            point[64] ^= 1;
        }
        let mut extensions = Vec::new();
        if let Some(selected) = hello.selected {
            extensions.extend([0, 43, 0, 2]);
            extensions.extend(selected.to_be_bytes());
        }
        if hello.share != Share::Missing {
            extensions.extend([0, 51, 0, 69]);
            extensions.extend(hello.group.to_be_bytes());
            extensions.extend([0, 65]);
            extensions.extend(point);
        }
        extensions.extend(&hello.more);
        let mut body = hello.version.to_be_bytes().to_vec();
        body.extend(hello.random);
        body.push(hello.session_id.len() as u8);
        body.extend(&hello.session_id);
        body.extend(hello.suite.to_be_bytes());
        body.push(hello.compression);
        if hello.selected.is_some() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        let message = self.said(message(2, &body));
        let shared = secret.diffie_hellman(&self.client_share);
        let early = extract(&[0; 32], &[0; 32]);
        let handshake = extract(&derive(&early, "derived", &hash(&[])), shared.raw_secret_bytes());
        let transcript = self.transcript_hash();
        self.ours = Some(Keys::new(derive(&handshake, "s hs traffic", &transcript)));
        self.theirs = Some(Keys::new(derive(&handshake, "c hs traffic", &transcript)));
        self.master = extract(&derive(&handshake, "derived", &hash(&[])), &[0; 32]);
        message
    }

    /// Counts a handshake message to the transcript, and gives it back.
    #[must_use]
    pub fn said(&mut self, message: Vec<u8>) -> Vec<u8> {
        self.transcript.update(&message);
        message
    }

    /// EncryptedExtensions with these extensions.
    #[must_use]
    pub fn extensions(&mut self, extensions: &[u8]) -> Vec<u8> {
        let body = [&(extensions.len() as u16).to_be_bytes(), extensions].concat();
        self.said(message(8, &body))
    }

    /// A CertificateRequest with this context.
    #[must_use]
    pub fn request(&mut self, context: &[u8]) -> Vec<u8> {
        let mut body = vec![context.len() as u8];
        body.extend(context);
        body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        self.said(message(13, &body))
    }

    /// A Certificate.
    #[must_use]
    pub fn certificate(&mut self, chain: &[Vec<u8>]) -> Vec<u8> {
        let mut entries = Vec::new();
        for der in chain {
            entries.extend(u24(der.len()));
            entries.extend(der);
            entries.extend([0, 0]);
        }
        let body = [&[0][..], &u24(entries.len()), &entries].concat();
        self.said(message(11, &body))
    }

    /// A CertificateVerify over the transcript so far.
    #[must_use]
    pub fn proof(&mut self, key: &TestKey, context: &str, scheme: u16) -> Vec<u8> {
        let hash = self.transcript_hash();
        self.proof_over(key, context, scheme, &hash)
    }

    /// A CertificateVerify over another transcript.
    #[must_use]
    pub fn proof_over(&mut self, key: &TestKey, context: &str, scheme: u16, transcript: &[u8; 32]) -> Vec<u8> {
        let signed = [&[0x20; 64][..], context.as_bytes(), &[0], transcript].concat();
        let signature = key.sign(&signed).to_der();
        let length = (signature.len() as u16).to_be_bytes();
        let body = [&scheme.to_be_bytes()[..], &length, &signature].concat();
        self.said(message(15, &body))
    }

    /// A Finished.
    #[must_use]
    pub fn finished(&mut self) -> Vec<u8> {
        let transcript = self.transcript_hash();
        let secret = self.ours.as_ref().map_or([0; 32], |keys| keys.secret);
        let message = message(20, &finished_mac(&secret, &transcript));
        self.said(message)
    }

    /// From here on with application keys, those of the client's side after its own Finished.
    pub fn established(&mut self) -> Established {
        let transcript = self.transcript_hash();
        self.ours = Some(Keys::new(derive(&self.master, "s ap traffic", &transcript)));
        Established(derive(&self.master, "c ap traffic", &transcript))
    }

    /// Reads the client's Certificate, CertificateVerify and Finished: the messages, as they came.
    ///
    /// # Errors
    /// When the client ends before, or its record is not sealed for us.
    pub fn read_flight(&mut self, then: &Established) -> io::Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        loop {
            let (kind, content) = self.read_sealed()?;
            if kind != HANDSHAKE {
                return Err(io::Error::other("not a handshake message"));
            }
            let is_finished = content.first() == Some(&20);
            messages.push(content);
            if is_finished {
                self.theirs = Some(Keys::new(then.0));
                return Ok(messages);
            }
        }
    }

    /// Reads one sealed record: its true type, and its content.
    ///
    /// # Errors
    /// When the connection ends, or the record is not sealed for us.
    pub fn read_sealed(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let (kind, payload) = read_record(&mut self.io)?;
        let keys = self.theirs.as_mut().filter(|_| kind == DATA);
        let keys = keys.ok_or_else(|| io::Error::other("not a sealed record"))?;
        let header = header(DATA, payload.len());
        let nonce = keys.nonce();
        let payload = Payload { msg: &payload, aad: &header };
        let mut inner = keys
            .cipher
            .decrypt(Nonce::from_slice(&nonce), payload)
            .map_err(|_| io::Error::other("a record that is not for us"))?;
        while inner.last() == Some(&0) {
            inner.pop();
        }
        let kind = inner.pop().ok_or_else(|| io::Error::other("an empty record"))?;
        Ok((kind, inner))
    }

    /// Sends a record that is not encrypted.
    ///
    /// # Errors
    /// Of the socket.
    pub fn plain(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let record = [&header(kind, payload.len()), payload].concat();
        self.io.write_all(&record)
    }

    /// Sends `content` in one encrypted record.
    ///
    /// # Errors
    /// Of the socket.
    pub fn sealed(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        self.inner(&[content, &[kind]].concat())
    }

    /// Sends whatever stands inside an encrypted record: content, type, padding.
    ///
    /// # Errors
    /// Of the socket, or before a ServerHello.
    pub fn inner(&mut self, inner: &[u8]) -> io::Result<()> {
        let record = self.seal(inner)?;
        self.io.write_all(&record)
    }

    /// The bytes of an encrypted record.
    ///
    /// # Errors
    /// Before a ServerHello.
    pub fn seal(&mut self, inner: &[u8]) -> io::Result<Vec<u8>> {
        let keys = self.ours.as_mut().ok_or_else(|| io::Error::other("no keys yet"))?;
        let header = header(DATA, inner.len() + 16);
        let nonce = keys.nonce();
        let sealed = keys
            .cipher
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: inner, aad: &header })
            .map_err(|_| io::Error::other("cannot seal"))?;
        Ok([&header[..], &sealed].concat())
    }

    /// The transcript so far.
    #[must_use]
    pub fn transcript_hash(&self) -> [u8; 32] {
        self.transcript.clone().finalize().into()
    }
}

/// The client's side of the application keys, while the client still has its handshake's.
pub struct Established([u8; 32]);

/// A handshake message.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u24(body.len()), body].concat()
}

fn u24(length: usize) -> [u8; 3] {
    let [.., high, middle, low] = length.to_be_bytes();
    [high, middle, low]
}

fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

fn read_record(io: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    io.read_exact(&mut header)?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    io.read_exact(&mut payload)?;
    Ok((header[0], payload))
}

/// The P-256 share in a ClientHello: group, length, and a point that begins with 4.
fn client_share(hello: &[u8]) -> Option<p256::PublicKey> {
    let start = hello.windows(5).position(|window| window == [0x00, 0x17, 0x00, 0x41, 0x04])?;
    p256::PublicKey::from_sec1_bytes(hello.get(start + 4..start + 69)?).ok()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn extract(salt: &[u8; 32], secret: &[u8]) -> [u8; 32] {
    Hkdf::<Sha256>::extract(Some(salt), secret).0.into()
}

fn derive(secret: &[u8; 32], label: &str, transcript: &[u8; 32]) -> [u8; 32] {
    expand(secret, label, transcript)
}

fn expand<const N: usize>(secret: &[u8; 32], label: &str, context: &[u8]) -> [u8; N] {
    let label = format!("tls13 {label}");
    let mut info = (N as u16).to_be_bytes().to_vec();
    info.push(label.len() as u8);
    info.extend(label.as_bytes());
    info.push(context.len() as u8);
    info.extend(context);
    let mut output = [0; N];
    // A PRK of 32 bytes and an output of at most 32 are always taken.
    if let Ok(hkdf) = Hkdf::<Sha256>::from_prk(secret) {
        let _ = hkdf.expand(&info, &mut output);
    }
    output
}

fn finished_mac(secret: &[u8; 32], transcript: &[u8; 32]) -> [u8; 32] {
    let key: [u8; 32] = expand(secret, "finished", &[]);
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).map(|mac| mac.chain_update(transcript));
    mac.map_or([0; 32], |mac| mac.finalize().into_bytes().into())
}
