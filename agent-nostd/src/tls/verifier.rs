//! Who is at the other end: the chain by [`verify_gateway`], the very function of the Linux agent, then CertificateVerify
//! (RFC 9846, section 4.4.3) with the key of the leaf. In this order, each once; everything else is an error, and an
//! error stays one.

use embedded_tls::{CertificateEntryRef, CertificateRef, CertificateVerifyRef, Sha256, SignatureScheme};
use embedded_tls::{TlsError, TlsVerifier};
use muster_protocol::Code;
use muster_protocol::limits::CHAIN_CERTIFICATES_MAX;
use muster_protocol::pki::{VerifiedGateway, verify_gateway};
use sha2::Digest as _;

use super::Expected;
use super::link::{Link, Phase};
use super::suite::GuardedSuite;

/// How the server is judged.
#[derive(Clone, Copy)]
pub(super) enum Judge<'a> {
    /// As the gateway that we expect.
    Gateway(&'a Expected<'a>),
    /// Not at all; what it serves carries its own signature.
    Nobody,
}

/// The check of one handshake.
pub(super) struct Verifier<'a> {
    judge: Judge<'a>,
    link: &'a Link,
    stage: Stage,
}

enum Stage {
    Start,
    ChainOk { gateway: Option<VerifiedGateway>, transcript: [u8; 32] },
    Authenticated(Option<VerifiedGateway>),
    Refused(Code),
}

impl<'a> Verifier<'a> {
    pub(super) const fn new(judge: Judge<'a>, link: &'a Link) -> Self {
        Self { judge, link, stage: Stage::Start }
    }

    /// Whether the peer has shown a chain that we accept, and that it has the leaf's key.
    pub(super) const fn is_authenticated(&self) -> bool {
        matches!(self.stage, Stage::Authenticated(_))
    }

    /// The evidence, of a peer that was judged and authenticated.
    pub(super) fn evidence(&self) -> Option<VerifiedGateway> {
        match &self.stage {
            Stage::Authenticated(gateway) => gateway.clone(),
            _ => None,
        }
    }

    /// Why the peer was refused.
    pub(super) const fn refusal(&self) -> Option<Code> {
        match self.stage {
            Stage::Refused(code) => Some(code),
            _ => None,
        }
    }

    fn check_chain(&self, shown: &CertificateRef<'_>) -> Result<Option<VerifiedGateway>, Code> {
        let Judge::Gateway(expected) = self.judge else { return Ok(None) };
        // One more than may be, so that too many are refused by the chain check itself.
        let mut chain = heapless::Vec::<&[u8], { CHAIN_CERTIFICATES_MAX + 1 }>::new();
        for entry in shown.entries.iter().take(CHAIN_CERTIFICATES_MAX + 1) {
            let (CertificateEntryRef::X509(der) | CertificateEntryRef::RawPublicKey(der)) = entry;
            chain.push(der).map_err(|_| Code::CertificateProfile)?;
        }
        let Expected { name, gateway_cas, clock, algorithm } = *expected;
        verify_gateway(&chain, gateway_cas, name, clock, &[algorithm]).map(Some)
    }

    fn check_proof(
        &self,
        gateway: &VerifiedGateway,
        transcript: &[u8; 32],
        proof: &CertificateVerifyRef<'_>,
    ) -> Result<(), Code> {
        let Judge::Gateway(expected) = self.judge else { return Ok(()) };
        if proof.signature_scheme != SignatureScheme::EcdsaSecp256r1Sha256 {
            return Err(Code::CertificateBadSignature);
        }
        let mut message = [0x20; 64 + CONTEXT.len() + 32];
        let (context, hash) = message[64..].split_at_mut(CONTEXT.len());
        context.copy_from_slice(CONTEXT);
        hash.copy_from_slice(transcript);
        expected
            .algorithm
            .verify_signature(gateway.public_key().as_sec1(), &message, proof.signature)
            .map_err(|_| Code::CertificateBadSignature)
    }

    fn refuse(&mut self, code: Code) -> TlsError {
        // The first refusal stays: what comes after it is not looked at.
        if !matches!(self.stage, Stage::Refused(_)) {
            self.stage = Stage::Refused(code);
        }
        TlsError::InvalidCertificate
    }
}

impl TlsVerifier<GuardedSuite> for Verifier<'_> {
    /// The name is known since the start, for the chain check.
    fn set_hostname_verification(&mut self, _hostname: &str) -> Result<(), TlsError> {
        Ok(())
    }

    fn verify_certificate(&mut self, transcript: &Sha256, certificate: CertificateRef<'_>) -> Result<(), TlsError> {
        if !matches!(self.stage, Stage::Start) {
            return Err(self.refuse(Code::SessionHandshake));
        }
        match self.check_chain(&certificate) {
            Ok(gateway) => {
                self.stage = Stage::ChainOk { gateway, transcript: transcript.clone().finalize().into() };
                self.link.enter(Phase::ChainOk);
                Ok(())
            }
            Err(code) => Err(self.refuse(code)),
        }
    }

    fn verify_signature(&mut self, proof: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        let (gateway, transcript) = match core::mem::replace(&mut self.stage, Stage::Refused(Code::SessionHandshake)) {
            Stage::ChainOk { gateway, transcript } => (gateway, transcript),
            Stage::Refused(code) => {
                self.stage = Stage::Refused(code);
                return Err(TlsError::InvalidCertificate);
            }
            Stage::Start | Stage::Authenticated(_) => return Err(TlsError::InvalidCertificate),
        };
        if let Some(gateway) = &gateway
            && let Err(code) = self.check_proof(gateway, &transcript, &proof)
        {
            self.stage = Stage::Refused(code);
            return Err(TlsError::InvalidSignature);
        }
        self.stage = Stage::Authenticated(gateway);
        self.link.enter(Phase::Authenticated);
        Ok(())
    }
}

/// What a server's signature is for (RFC 9846, section 4.4.3).
const CONTEXT: &[u8; 34] = b"TLS 1.3, server CertificateVerify\0";
