//! Attacks after the handshake, by whoever has the gateway's key.

use std::io::{Read, Write};

use muster_agent_nostd::tls::{Breach, GuardError};
use muster_protocol::Code;

use super::super::tls::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, message};
use super::{LateAttack, breach};

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
