//! Attacks up to the ServerHello, and on records that are not encrypted.

use std::io::{Read, Write};
use std::time::Duration;

use muster_agent_nostd::tls::{Breach, GuardError};
use muster_protocol::Code;

use super::super::tls::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, Hello, Share, message};
use super::{Attack, attack, breach, flight, greet, say};

pub(super) fn attacks<T: Read + Write>() -> Vec<Attack<T>> {
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

/// SHA-256 of "HelloRetryRequest".
fn hello_retry_random() -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(b"HelloRetryRequest").into()
}
