//! Attacks in the encrypted flight.

use std::io::{self, Read, Write};

use muster_agent_nostd::tls::{Breach, GuardError};
use muster_protocol::Code;

use super::super::tls::{ALERT, DATA, ECDSA_P256, HANDSHAKE, SERVER_CONTEXT, Tls, message};
use super::{Attack, Material, attack, breach, flight, greet};
use crate::corpus::CorpusKey;

pub(super) fn attacks<T: Read + Write>() -> Vec<Attack<T>> {
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
