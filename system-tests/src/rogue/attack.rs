//! What a hostile server does, one attack per row, and how the guard has to end it.

use std::io::{self, Read, Write};
use std::time::Duration;

use muster_agent_nostd::tls::{Breach, GuardError};
use muster_protocol::Code;

use super::tls::{
    ALERT, CHANGE_CIPHER_SPEC, DATA, ECDSA_P256, Established, HANDSHAKE, Hello, SERVER_CONTEXT, Share, Tls, message,
};
use crate::corpus::CorpusKey;
use crate::test_pki::TestKey;

/// What a hostile server has: a good chain with its key, as far as the attack needs them.
#[derive(Clone)]
pub struct Material {
    /// A chain that the device accepts.
    pub chain: Vec<Vec<u8>>,
    /// The key of its leaf.
    pub key: TestKey,
}

/// One attack, against anything that reads and writes.
pub struct Attack<T> {
    /// Its name.
    pub name: &'static str,
    /// Does it. After the last step the server goes on reading, and says nothing more.
    pub run: fn(&mut Tls<T>, &Material) -> io::Result<()>,
    /// How the guard has to end the handshake.
    pub ends: GuardError,
}

/// An attack by whoever has the gateway's key, after a good handshake.
pub struct LateAttack<T> {
    /// Its name.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut Tls<T>) -> io::Result<()>,
    /// What the device's reads give until the end: the bytes read, and the end; `None` for a goodbye.
    pub ends: (&'static [u8], Option<GuardError>),
}

const fn breach(breach: Breach) -> GuardError {
    GuardError::Breach(breach)
}

/// Every attack of a server before or in its flight.
#[must_use]
pub fn attacks<T: Read + Write>() -> Vec<Attack<T>> {
    let mut all = before_the_flight();
    all.extend(in_the_flight());
    all
}

fn attack<T>(name: &'static str, ends: GuardError, run: fn(&mut Tls<T>, &Material) -> io::Result<()>) -> Attack<T> {
    Attack { name, run, ends }
}

fn before_the_flight<T: Read + Write>() -> Vec<Attack<T>> {
    vec![
        attack("silence", GuardError::Timeout, |_, _| Ok(())),
        attack("three bytes of a record", GuardError::Timeout, |tls, _| tls.raw().write_all(&[22, 3, 3])),
        attack("half a ServerHello", GuardError::Timeout, |tls, _| {
            let hello = tls.hello(&Hello::default());
            let record = [&[22, 3, 3, 0, hello.len() as u8], &hello[..]].concat();
            tls.raw().write_all(&record[..40])
        }),
        attack("a byte now and then", GuardError::Timeout, |tls, _| {
            let hello = tls.hello(&Hello::default());
            let record = [&[22, 3, 3, 0, hello.len() as u8], &hello[..]].concat();
            for byte in &record[..20] {
                tls.raw().write_all(&[*byte])?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }),
        attack("zeros", breach(Breach::RecordType), |tls, _| tls.raw().write_all(&[0; 4096])),
        attack("0xff", breach(Breach::RecordType), |tls, _| tls.raw().write_all(&[0xff; 4096])),
        attack("HTTP", breach(Breach::RecordType), |tls, _| {
            tls.raw().write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        }),
        attack("SSH", breach(Breach::RecordType), |tls, _| tls.raw().write_all(b"SSH-2.0-OpenSSH_9.9\r\n")),
        attack("an MQTT CONNACK", breach(Breach::RecordType), |tls, _| tls.raw().write_all(&[0x20, 0x02, 0, 0, 0])),
        attack("a record of 16 KiB", breach(Breach::RecordTooLarge), |tls, _| {
            tls.raw().write_all(&[22, 3, 3, 0x40, 0])
        }),
        attack("an empty handshake record", breach(Breach::RecordTooShort), |tls, _| tls.plain(HANDSHAKE, &[])),
        attack("an encrypted record first", breach(Breach::RecordType), |tls, _| tls.plain(DATA, &[0; 64])),
        attack("change_cipher_spec first", breach(Breach::RecordType), |tls, _| tls.plain(CHANGE_CIPHER_SPEC, &[1])),
        attack("a heartbeat", breach(Breach::RecordType), |tls, _| tls.plain(24, &[1, 0x40, 0])),
        attack("records of SSL 3.0", breach(Breach::RecordVersion), |tls, _| tls.raw().write_all(&[22, 3, 0, 0, 80])),
        attack("alert handshake_failure", GuardError::Refused(Code::SessionHandshake), |tls, _| {
            tls.plain(ALERT, &[2, 40])
        }),
        attack("alert protocol_version", GuardError::Refused(Code::SessionHandshake), |tls, _| {
            tls.plain(ALERT, &[2, 70])
        }),
        attack("alert internal_error", GuardError::Refused(Code::Unavailable), |tls, _| tls.plain(ALERT, &[2, 80])),
        attack("an alert that does not exist", GuardError::Refused(Code::SessionHandshake), |tls, _| {
            tls.plain(ALERT, &[7, 200])
        }),
        attack("alert close_notify", GuardError::Broken, |tls, _| tls.plain(ALERT, &[1, 0])),
        attack("a long alert", breach(Breach::RecordTooLarge), |tls, _| tls.plain(ALERT, &[2, 40, 0])),
        attack("HelloRetryRequest", breach(Breach::HelloRetry), |tls, _| {
            let random = hello_retry_random();
            say(tls, &Hello { random, share: Share::Missing, more: vec![0, 51, 0, 2, 0, 0x18], ..Hello::default() })
        }),
        attack("TLS 1.2", breach(Breach::Version), |tls, _| {
            say(tls, &Hello { selected: None, suite: 0xc02b, ..Hello::default() })
        }),
        attack("TLS 1.2 in supported_versions", breach(Breach::Version), |tls, _| {
            say(tls, &Hello { selected: Some(0x0303), ..Hello::default() })
        }),
        attack("TLS 1.4", breach(Breach::Version), |tls, _| {
            say(tls, &Hello { selected: Some(0x0305), ..Hello::default() })
        }),
        attack("AES-256", breach(Breach::ServerHello), |tls, _| say(tls, &Hello { suite: 0x1302, ..Hello::default() })),
        attack("ChaCha20", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { suite: 0x1303, ..Hello::default() })
        }),
        attack("another group", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { group: 0x001d, ..Hello::default() })
        }),
        attack("no key share", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { share: Share::Missing, ..Hello::default() })
        }),
        attack("a share off the curve", breach(Breach::Handshake), |tls, _| {
            say(tls, &Hello { share: Share::OffCurve, ..Hello::default() })
        }),
        attack("a session id", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { session_id: vec![1; 32], ..Hello::default() })
        }),
        attack("a session id of 255 bytes", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { session_id: vec![1; 255], ..Hello::default() })
        }),
        attack("compression", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { compression: 1, ..Hello::default() })
        }),
        attack("an old legacy version", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { version: 0x0301, ..Hello::default() })
        }),
        attack("a PSK that was not offered", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { more: vec![0, 41, 0, 2, 0, 0], ..Hello::default() })
        }),
        attack("a cookie", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { more: vec![0, 44, 0, 2, 0, 0], ..Hello::default() })
        }),
        attack("supported_versions twice", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { more: vec![0, 43, 0, 2, 3, 4], ..Hello::default() })
        }),
        attack("an extension that overruns", breach(Breach::ServerHello), |tls, _| {
            say(tls, &Hello { more: vec![0, 44, 0, 9, 0], ..Hello::default() })
        }),
        attack("a ServerHello in two records", breach(Breach::ServerHello), |tls, _| {
            let hello = tls.hello(&Hello::default());
            tls.plain(HANDSHAKE, &hello[..60])?;
            tls.plain(HANDSHAKE, &hello[60..])
        }),
        attack("a ServerHello of two bytes", breach(Breach::RecordTooShort), |tls, _| tls.plain(HANDSHAKE, &[2, 0])),
        attack("a ClientHello", breach(Breach::ServerHello), |tls, _| tls.plain(HANDSHAKE, &message(1, &[0; 100]))),
        attack("a message behind the ServerHello, unencrypted", breach(Breach::ServerHello), |tls, _| {
            let hello = tls.hello(&Hello::default());
            let more = tls.extensions(&[]);
            tls.plain(HANDSHAKE, &[hello, more].concat())
        }),
        attack("two ServerHellos", breach(Breach::RecordType), |tls, _| {
            let hello = tls.hello(&Hello::default());
            tls.plain(HANDSHAKE, &hello)?;
            tls.plain(HANDSHAKE, &hello)
        }),
        attack("a flight in the clear", breach(Breach::RecordType), |tls, material| {
            let hello = tls.hello(&Hello::default());
            tls.plain(HANDSHAKE, &hello)?;
            let flight = flight(tls, material);
            tls.plain(HANDSHAKE, &flight.concat())
        }),
        attack("an alert in the clear behind the ServerHello", breach(Breach::RecordType), |tls, _| {
            greet(tls)?;
            tls.plain(ALERT, &[1, 0])
        }),
        attack("change_cipher_spec twice", breach(Breach::RecordType), |tls, _| {
            greet(tls)?;
            tls.plain(CHANGE_CIPHER_SPEC, &[1])?;
            tls.plain(CHANGE_CIPHER_SPEC, &[1])
        }),
        attack("a strange change_cipher_spec", breach(Breach::RecordType), |tls, _| {
            greet(tls)?;
            tls.plain(CHANGE_CIPHER_SPEC, &[2])
        }),
        attack("a long change_cipher_spec", breach(Breach::RecordTooLarge), |tls, _| {
            greet(tls)?;
            tls.plain(CHANGE_CIPHER_SPEC, &[1, 1])
        }),
    ]
}

fn in_the_flight<T: Read + Write>() -> Vec<Attack<T>> {
    let forged = GuardError::GatewayUntrusted(Code::CertificateBadSignature);
    let out_of_order = breach(Breach::Flight);
    vec![
        attack("silence behind the ServerHello", GuardError::Timeout, |tls, _| greet(tls)),
        attack("half a flight, then silence", GuardError::Timeout, |tls, material| {
            greet(tls)?;
            let flight = flight(tls, material).concat();
            let record = tls.seal(&[&flight[..], &[HANDSHAKE]].concat())?;
            tls.raw().write_all(&record[..record.len() / 2])
        }),
        attack("the flight but for its Finished, then silence", GuardError::Timeout, |tls, material| {
            greet(tls)?;
            let mut flight = flight(tls, material);
            flight.pop();
            tls.sealed(HANDSHAKE, &flight.concat())
        }),
        attack("an encrypted record without anything", breach(Breach::RecordTooShort), |tls, _| {
            greet(tls)?;
            tls.plain(DATA, &[])
        }),
        attack("an encrypted record of a tag alone", breach(Breach::RecordTooShort), |tls, _| {
            greet(tls)?;
            tls.inner(&[])
        }),
        attack("an encrypted record of a type alone", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(HANDSHAKE, &[])
        }),
        attack("an encrypted record of padding alone", out_of_order, |tls, _| {
            greet(tls)?;
            tls.inner(&[0; 64])
        }),
        attack("an encrypted record that is too large", breach(Breach::RecordTooLarge), |tls, _| {
            greet(tls)?;
            tls.inner(&[0; 16_000])
        }),
        attack("a record of another key", out_of_order, |tls, _| {
            greet(tls)?;
            tls.plain(DATA, &[0x55; 200])
        }),
        attack("a Finished and no certificate", out_of_order, |tls, _| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.finished()];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("the same in two records", out_of_order, |tls, _| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &extensions)?;
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &finished)
        }),
        attack("a request, a Finished and no certificate", out_of_order, |tls, _| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.request(&[]), tls.finished()];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("CertificateVerify first", out_of_order, |tls, material| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
            let certificate = tls.certificate(&material.chain);
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &[extensions, proof, certificate, finished].concat())
        }),
        attack("CertificateVerify alone", out_of_order, |tls, material| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &extensions)?;
            let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
            tls.sealed(HANDSHAKE, &proof)
        }),
        attack("no CertificateVerify", out_of_order, |tls, material| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.certificate(&material.chain), tls.finished()];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("no CertificateVerify, in three records", out_of_order, |tls, material| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &extensions)?;
            let certificate = tls.certificate(&material.chain);
            tls.sealed(HANDSHAKE, &certificate)?;
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &finished)
        }),
        attack("Certificate twice", out_of_order, |tls, material| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.certificate(&material.chain), tls.certificate(&material.chain)];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("Certificate twice, in two records", out_of_order, |tls, material| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.certificate(&material.chain)];
            tls.sealed(HANDSHAKE, &messages.concat())?;
            let certificate = tls.certificate(&material.chain);
            tls.sealed(HANDSHAKE, &certificate)
        }),
        attack("CertificateVerify twice", out_of_order, |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            messages.pop();
            messages.push(tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256));
            messages.push(tls.finished());
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("another certificate behind the proof", out_of_order, |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            messages.pop();
            tls.sealed(HANDSHAKE, &messages.concat())?;
            let certificate = tls.certificate(&material.chain);
            tls.sealed(HANDSHAKE, &certificate)
        }),
        attack("Finished first", out_of_order, |tls, material| {
            greet(tls)?;
            let finished = tls.finished();
            let flight = flight(tls, material);
            tls.sealed(HANDSHAKE, &[finished, flight.concat()].concat())
        }),
        attack("no EncryptedExtensions", out_of_order, |tls, material| {
            greet(tls)?;
            let certificate = tls.certificate(&material.chain);
            let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &[certificate, proof, finished].concat())
        }),
        attack("EncryptedExtensions twice", out_of_order, |tls, _| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.extensions(&[])];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("a message behind the Finished", out_of_order, |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            messages.push(tls.request(&[]));
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("a second Finished", out_of_order, |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            messages.push(tls.finished());
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("a certificate in two records", out_of_order, |tls, material| {
            greet(tls)?;
            let flight = flight(tls, material).concat();
            tls.sealed(HANDSHAKE, &flight[..100])?;
            tls.sealed(HANDSHAKE, &flight[100..])
        }),
        attack("a length that overruns the record", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(HANDSHAKE, &[8, 0xff, 0xff, 0xff, 0, 0])
        }),
        attack("a message that is no message", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(HANDSHAKE, &[8, 0])
        }),
        attack("a wrong Finished", breach(Breach::Handshake), |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            if let Some(byte) = messages.last_mut().and_then(|finished| finished.last_mut()) {
                *byte ^= 1;
            }
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("a short Finished", out_of_order, |tls, material| {
            greet(tls)?;
            let mut messages = flight(tls, material);
            messages.pop();
            messages.push(message(20, &[0; 31]));
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("a proof by another key", forged, |tls, material| {
            prove(tls, material, |tls, _| tls.proof(CorpusKey::new(999).pair(), SERVER_CONTEXT, ECDSA_P256))
        }),
        attack("a proof for a client", forged, |tls, material| {
            prove(tls, material, |tls, material| {
                tls.proof(&material.key, "TLS 1.3, client CertificateVerify", ECDSA_P256)
            })
        }),
        attack("a proof of another handshake", forged, |tls, material| {
            prove(tls, material, |tls, material| tls.proof_over(&material.key, SERVER_CONTEXT, ECDSA_P256, &[0x42; 32]))
        }),
        attack("a proof by a scheme that is not ours", forged, |tls, material| {
            prove(tls, material, |tls, material| tls.proof(&material.key, SERVER_CONTEXT, 0x0503))
        }),
        attack("a proof by Ed25519", forged, |tls, material| {
            prove(tls, material, |tls, material| tls.proof(&material.key, SERVER_CONTEXT, 0x0807))
        }),
        attack("an empty proof", forged, |tls, material| {
            prove(tls, material, |tls, _| tls.said(message(15, &[4, 3, 0, 0])))
        }),
        attack("a proof of zeros", forged, |tls, material| {
            prove(tls, material, |tls, _| tls.said(message(15, &[4, 3, 0, 8, 0x30, 6, 2, 1, 0, 2, 1, 0])))
        }),
        attack("a proof by a scheme that does not exist", breach(Breach::Handshake), |tls, material| {
            prove(tls, material, |tls, _| tls.said(message(15, &[0xfe, 0xfe, 0, 0])))
        }),
        attack("a proof that overruns", breach(Breach::Handshake), |tls, material| {
            prove(tls, material, |tls, _| tls.said(message(15, &[4, 3, 0, 200, 1, 2, 3])))
        }),
        attack(
            "a Certificate without certificates",
            GuardError::GatewayUntrusted(Code::CertificateMissing),
            |tls, material| {
                greet(tls)?;
                let messages = [tls.extensions(&[]), tls.request(&[]), tls.certificate(&[])];
                let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
                let finished = tls.finished();
                tls.sealed(HANDSHAKE, &[messages.concat(), proof, finished].concat())
            },
        ),
        attack("an empty certificate", GuardError::GatewayUntrusted(Code::CertificateMalformed), |tls, material| {
            let material = Material { chain: vec![vec![]], ..material.clone() };
            greet(tls)?;
            let flight = flight(tls, &material);
            tls.sealed(HANDSHAKE, &flight.concat())
        }),
        attack("seventeen certificates", breach(Breach::Handshake), |tls, material| {
            let material = Material { chain: vec![vec![0x30, 0]; 17], ..material.clone() };
            greet(tls)?;
            let flight = flight(tls, &material);
            tls.sealed(HANDSHAKE, &flight.concat())
        }),
        attack("a Certificate with a context", out_of_order, |tls, _| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            let certificate = tls.said(message(11, &[1, 0, 0, 0, 0]));
            tls.sealed(HANDSHAKE, &[extensions, certificate].concat())
        }),
        attack("a request with a context", out_of_order, |tls, _| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.request(&[1; 200])];
            tls.sealed(HANDSHAKE, &messages.concat())
        }),
        attack("no request: not mutual", breach(Breach::NotMutual), |tls, material| {
            greet(tls)?;
            let messages = [tls.extensions(&[]), tls.certificate(&material.chain)];
            let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &[messages.concat(), proof, finished].concat())
        }),
        attack("KeyUpdate in the flight", out_of_order, |tls, _| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &[extensions, message(24, &[0])].concat())
        }),
        attack("a session ticket in the flight", out_of_order, |tls, _| {
            greet(tls)?;
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &[extensions, message(4, &[0; 14])].concat())
        }),
        attack("data in the flight", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(DATA, b"hello")
        }),
        attack("an alert in the flight", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(ALERT, &[2, 40])
        }),
        attack("an inner type that does not exist", out_of_order, |tls, _| {
            greet(tls)?;
            tls.sealed(99, b"hello")
        }),
        attack("an extension out of its place", breach(Breach::Handshake), |tls, material| {
            greet(tls)?;
            let extensions = tls.extensions(&[0, 51, 0, 2, 0, 0x17]);
            let certificate = tls.certificate(&material.chain);
            tls.sealed(HANDSHAKE, &[extensions, certificate].concat())
        }),
        attack("extensions that overrun", breach(Breach::Handshake), |tls, _| {
            greet(tls)?;
            let extensions = tls.said(message(8, &[0, 99, 1]));
            tls.sealed(HANDSHAKE, &extensions)
        }),
        attack("a flight of one record per byte", out_of_order, |tls, material| {
            greet(tls)?;
            for byte in flight(tls, material).concat() {
                tls.sealed(HANDSHAKE, &[byte])?;
            }
            Ok(())
        }),
    ]
}

/// Every attack after a good handshake.
#[must_use]
pub fn late_attacks<T: Read + Write>() -> Vec<LateAttack<T>> {
    let late = |name, ends, run| LateAttack { name, run, ends: (b"first" as &[u8], ends) };
    let stray = Some(breach(Breach::StrayHandshake));
    vec![
        late("KeyUpdate", Some(breach(Breach::KeyUpdate)), |tls| tls.sealed(HANDSHAKE, &message(24, &[1]))),
        late("KeyUpdate that asks for nothing", Some(breach(Breach::KeyUpdate)), |tls| {
            tls.sealed(HANDSHAKE, &message(24, &[0]))
        }),
        late("a CertificateRequest", stray, |tls| {
            let request = tls.request(&[]);
            tls.sealed(HANDSHAKE, &request)
        }),
        late("a Certificate", stray, |tls| {
            let certificate = tls.certificate(&[vec![1, 2, 3]]);
            tls.sealed(HANDSHAKE, &certificate)
        }),
        late("a CertificateVerify", stray, |tls| tls.sealed(HANDSHAKE, &message(15, &[4, 3, 0, 0]))),
        late("a Finished", stray, |tls| {
            let finished = tls.finished();
            tls.sealed(HANDSHAKE, &finished)
        }),
        late("a ServerHello", stray, |tls| {
            let hello = message(2, &[3; 80]);
            tls.sealed(HANDSHAKE, &hello)
        }),
        late("EncryptedExtensions", stray, |tls| {
            let extensions = tls.extensions(&[]);
            tls.sealed(HANDSHAKE, &extensions)
        }),
        late("EndOfEarlyData", stray, |tls| tls.sealed(HANDSHAKE, &message(5, &[]))),
        late("a HelloRequest", stray, |tls| tls.sealed(HANDSHAKE, &message(0, &[]))),
        late("a handshake message that does not exist", stray, |tls| tls.sealed(HANDSHAKE, &message(99, &[1]))),
        late("a handshake record without a message", stray, |tls| tls.sealed(HANDSHAKE, &[])),
        late("half a handshake message", stray, |tls| tls.sealed(HANDSHAKE, &[8, 0])),
        late("an inner type that does not exist", Some(breach(Breach::InnerType)), |tls| tls.sealed(99, b"x")),
        late("an encrypted change_cipher_spec", Some(breach(Breach::InnerType)), |tls| {
            tls.sealed(CHANGE_CIPHER_SPEC, &[1])
        }),
        late("an alert of one byte", Some(breach(Breach::InnerType)), |tls| tls.sealed(ALERT, &[2])),
        late("an alert of three bytes", Some(breach(Breach::InnerType)), |tls| tls.sealed(ALERT, &[2, 40, 0])),
        late("padding alone", Some(breach(Breach::RecordMac)), |tls| tls.inner(&[0; 40])),
        late("an empty record", Some(breach(Breach::RecordTooShort)), |tls| tls.inner(&[])),
        late("a record of another key", Some(breach(Breach::RecordMac)), |tls| tls.plain(DATA, &[9; 40])),
        late("a record that is too large", Some(breach(Breach::RecordTooLarge)), |tls| tls.inner(&[1; 4000])),
        late("a handshake record in the clear", Some(breach(Breach::RecordType)), |tls| {
            tls.plain(HANDSHAKE, &message(24, &[0]))
        }),
        late("an alert in the clear", Some(breach(Breach::RecordType)), |tls| tls.plain(ALERT, &[1, 0])),
        late("change_cipher_spec", Some(breach(Breach::RecordType)), |tls| tls.plain(CHANGE_CIPHER_SPEC, &[1])),
        late("no end of empty records", Some(breach(Breach::EmptyRecords)), |tls| {
            (0..40).try_for_each(|_| tls.sealed(DATA, &[]))
        }),
        late("no end of tickets", Some(breach(Breach::EmptyRecords)), |tls| {
            (0..40).try_for_each(|_| tls.sealed(HANDSHAKE, &message(4, &[0; 14])))
        }),
        late("alert certificate_expired", Some(GuardError::Refused(Code::CertificateExpired)), |tls| {
            tls.sealed(ALERT, &[2, 45])
        }),
        late("alert certificate_revoked", Some(GuardError::Refused(Code::CertificateRevoked)), |tls| {
            tls.sealed(ALERT, &[2, 44])
        }),
        late("alert unknown_ca", Some(GuardError::Refused(Code::CertificateUntrusted)), |tls| {
            tls.sealed(ALERT, &[2, 48])
        }),
        late("alert certificate_required", Some(GuardError::Refused(Code::CertificateMissing)), |tls| {
            tls.sealed(ALERT, &[2, 116])
        }),
        late("an alert that does not exist", Some(GuardError::Refused(Code::SessionHandshake)), |tls| {
            tls.sealed(ALERT, &[0, 255])
        }),
        late("goodbye", None, |tls| tls.sealed(ALERT, &[1, 0])),
        LateAttack {
            name: "tickets, padding and empty records among data",
            run: |tls| {
                tls.sealed(HANDSHAKE, &message(4, &[0; 200]))?;
                tls.inner(&[b" second".as_slice(), &[DATA], &[0; 500]].concat())?;
                tls.sealed(DATA, &[])?;
                tls.sealed(DATA, b" third")?;
                tls.sealed(ALERT, &[1, 0])
            },
            ends: (b"first second third", None),
        },
    ]
}

/// A good ServerHello.
///
/// # Errors
/// Of the socket.
pub fn greet<T: Read + Write>(tls: &mut Tls<T>) -> io::Result<()> {
    say(tls, &Hello::default())
}

/// A good handshake with `material`, up to the server's Finished, each message in a record of its own if it would not
/// fit one together.
///
/// # Errors
/// Of the socket.
pub fn shake_hands<T: Read + Write>(tls: &mut Tls<T>, material: &Material) -> io::Result<Established> {
    greet(tls)?;
    let messages = flight(tls, material);
    if messages.concat().len() <= ONE_RECORD_BYTES_MAX {
        tls.sealed(HANDSHAKE, &messages.concat())?;
    } else {
        messages.iter().try_for_each(|message| tls.sealed(HANDSHAKE, message))?;
    }
    Ok(tls.established())
}

fn say<T: Read + Write>(tls: &mut Tls<T>, hello: &Hello) -> io::Result<()> {
    let message = tls.hello(hello);
    tls.plain(HANDSHAKE, &message)
}

fn flight<T: Read + Write>(tls: &mut Tls<T>, material: &Material) -> Vec<Vec<u8>> {
    vec![
        tls.extensions(&[]),
        tls.request(&[]),
        tls.certificate(&material.chain),
        tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256),
        tls.finished(),
    ]
}

/// A flight with another proof in it.
fn prove<T: Read + Write>(
    tls: &mut Tls<T>,
    material: &Material,
    proof: fn(&mut Tls<T>, &Material) -> Vec<u8>,
) -> io::Result<()> {
    greet(tls)?;
    let before = [tls.extensions(&[]), tls.request(&[]), tls.certificate(&material.chain)].concat();
    let proof = proof(tls, material);
    let finished = tls.finished();
    tls.sealed(HANDSHAKE, &[before, proof, finished].concat())
}

/// SHA-256 of "HelloRetryRequest".
fn hello_retry_random() -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(b"HelloRetryRequest").into()
}

const ONE_RECORD_BYTES_MAX: usize = 2_200;
