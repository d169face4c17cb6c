//! Who is at the other end: what it has shown, and what we think of it. The chain by [`verify_gateway`], the very
//! function of the Linux agent, then CertificateVerify (RFC 9846, section 4.4.3) with the key of the leaf. In this order,
//! each once; everything else is a refusal, and a refusal stays one.
//!
//! embedded-tls only hands over what is shown ([`super::verifier`]). It is judged by the guard, step by step from a
//! shallow frame and with the executor served between the steps, while the gate lets nothing in or out
//! ([`super::link::Link::hold`]): a step is at most one check of a signature.

use muster_protocol::Code;
use muster_protocol::limits::CHAIN_CERTIFICATES_MAX;
use muster_protocol::pki::key::SIGNATURE_DER_BYTES_MAX;
use muster_protocol::pki::{VerifiedGateway, verify_gateway};

use super::Expected;
use super::link::{Link, Phase};
use super::questions::{Answer, Question, Questions, Sources};

/// What one peer has shown in one handshake.
pub(super) struct Shown<'a> {
    /// The certificates, one behind the other.
    room: &'a mut [u8],
    /// Where each of them ends.
    ends: heapless::Vec<usize, CHAIN_CERTIFICATES_MAX>,
    /// Of the messages up to the chain, which the peer signs.
    transcript: [u8; 32],
    proof: Option<Proof>,
    stage: Stage,
    gateway: Option<VerifiedGateway>,
    open: Option<Question>,
    answers: heapless::Vec<Answer, ANSWERS_MAX>,
}

/// The signature of a CertificateVerify; empty when it is none that we could take.
type Proof = heapless::Vec<u8, SIGNATURE_DER_BYTES_MAX>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Start,
    /// A chain was shown.
    Chain,
    /// It is one that we accept.
    ChainOk,
    /// And its peer has the leaf's key.
    Authenticated,
    Refused(Code),
}

impl<'a> Shown<'a> {
    /// Nothing yet. `room` is for the chain.
    pub(super) const fn new(room: &'a mut [u8]) -> Self {
        Self {
            room,
            ends: heapless::Vec::new(),
            transcript: [0; 32],
            proof: None,
            stage: Stage::Start,
            gateway: None,
            open: None,
            answers: heapless::Vec::new(),
        }
    }

    /// Whether the peer has shown a chain that we accept, and that it has the leaf's key.
    pub(super) fn is_authenticated(&self) -> bool {
        self.stage == Stage::Authenticated
    }

    /// Whether all was shown, and nothing of it refused.
    pub(super) fn is_whole(&self) -> bool {
        self.is_authenticated() || (self.proof.is_some() && !matches!(self.stage, Stage::Refused(_)))
    }

    /// The evidence, of a peer that was judged and authenticated.
    pub(super) fn evidence(&self) -> Option<VerifiedGateway> {
        self.gateway.clone().filter(|_| self.is_authenticated())
    }

    /// Why the peer was refused.
    pub(super) const fn refusal(&self) -> Option<Code> {
        match self.stage {
            Stage::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// Takes a chain down, leaf first.
    pub(super) fn show_chain<'c>(
        &mut self,
        chain: impl Iterator<Item = &'c [u8]>,
        transcript: [u8; 32],
    ) -> Result<(), Refused> {
        if self.stage != Stage::Start {
            return Err(self.refuse(Code::SessionHandshake));
        }
        let mut start = 0;
        for der in chain {
            let end = start + der.len();
            // More of them, or longer ones, than any profile of ours has.
            let (Some(place), Ok(())) = (self.room.get_mut(start..end), self.ends.push(end)) else {
                return Err(self.refuse(Code::CertificateProfile));
            };
            place.copy_from_slice(der);
            start = end;
        }
        self.transcript = transcript;
        self.stage = Stage::Chain;
        Ok(())
    }

    /// Takes a signature down; `None` is one that we could not check.
    pub(super) fn show_proof(&mut self, signature: Option<&[u8]>) -> Result<(), Refused> {
        let is_due = matches!(self.stage, Stage::Chain | Stage::ChainOk) && self.proof.is_none();
        if !is_due {
            return Err(self.refuse(Code::SessionHandshake));
        }
        self.proof = Some(signature.and_then(|signature| Proof::from_slice(signature).ok()).unwrap_or_default());
        Ok(())
    }

    /// Accepts what was shown by a peer that is not judged.
    pub(super) fn accept(&mut self, link: &Link) {
        match (self.stage, &self.proof) {
            (Stage::Chain, None) => {
                self.stage = Stage::ChainOk;
                link.enter(Phase::ChainOk);
            }
            (Stage::ChainOk, Some(_)) => {
                self.stage = Stage::Authenticated;
                link.enter(Phase::Authenticated);
            }
            _ => {}
        }
    }

    /// One step toward the verdict; lets the gate open when there is nothing more to judge.
    pub(super) fn judge(&mut self, expected: &Expected<'_>, link: &Link) {
        match (self.stage, self.open.take()) {
            (Stage::Chain, None) => self.search(expected, link),
            (Stage::Chain, Some(question)) => self.answer(question, expected),
            (Stage::ChainOk, _) if self.proof.is_some() => self.check_proof(expected, link),
            _ => link.release(),
        }
    }

    /// Looks for a path, by the answers that there are.
    #[inline(never)]
    fn search(&mut self, expected: &Expected<'_>, link: &Link) {
        let sources = Sources { chain: self.room, gateway_cas: expected.gateway_cas };
        let questions = Questions::new(sources, expected.algorithm, &self.answers);
        let mut chain = heapless::Vec::<&[u8], CHAIN_CERTIFICATES_MAX>::new();
        let mut start = 0;
        for end in &self.ends {
            // There is room: for each there is an end.
            let _ = chain.push(self.room.get(start..*end).unwrap_or_default());
            start = *end;
        }
        let found = verify_gateway(&chain, expected.gateway_cas, expected.name, expected.clock, &[&questions]);
        self.open = questions.open();
        if self.open.is_some() {
            return;
        }
        match found {
            Ok(gateway) => {
                self.gateway = Some(gateway);
                self.stage = Stage::ChainOk;
                link.enter(Phase::ChainOk);
            }
            Err(code) => self.stage = Stage::Refused(code),
        }
    }

    #[inline(never)]
    fn answer(&mut self, question: Question, expected: &Expected<'_>) {
        let sources = Sources { chain: self.room, gateway_cas: expected.gateway_cas };
        let answer = question.answer(&sources, expected.algorithm);
        if self.answers.push(answer).is_err() {
            // No chain within our bounds needs so many; whoever makes us search for ever is as good as untrusted.
            self.stage = Stage::Refused(Code::CertificateUntrusted);
        }
    }

    #[inline(never)]
    fn check_proof(&mut self, expected: &Expected<'_>, link: &Link) {
        let mut message = [0x20; 64 + CONTEXT.len() + 32];
        let (context, hash) = message[64..].split_at_mut(CONTEXT.len());
        context.copy_from_slice(CONTEXT);
        hash.copy_from_slice(&self.transcript);
        let is_good = match (&self.gateway, &self.proof) {
            (Some(gateway), Some(proof)) => {
                expected.algorithm.verify_signature(gateway.public_key().as_sec1(), &message, proof).is_ok()
            }
            _ => false,
        };
        if is_good {
            self.stage = Stage::Authenticated;
            link.enter(Phase::Authenticated);
        } else {
            self.stage = Stage::Refused(Code::CertificateBadSignature);
        }
    }

    fn refuse(&mut self, code: Code) -> Refused {
        // The first refusal stays: what comes after it is not looked at.
        if !matches!(self.stage, Stage::Refused(_)) {
            self.stage = Stage::Refused(code);
        }
        Refused
    }
}

/// The peer was refused; why stands in [`Shown`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// What a server's signature is for (RFC 9846, section 4.4.3).
const CONTEXT: &[u8; 34] = b"TLS 1.3, server CertificateVerify\0";
/// Checks of signatures in one chain: each certificate by each CA of its issuer's name would be as many.
const ANSWERS_MAX: usize = 12;
