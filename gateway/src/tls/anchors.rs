//! The CAs that clients are checked against. A handshake uses what is in force at its moment: a CA that was removed is
//! refused by the next one.
//!
//! Certificates are kept as bytes and read again for every chain, since an anchor borrows from them; only those that a
//! presented certificate names as its issuer are read.

use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_protocol::pki::chain::{ClientAnchors, VerifiedClient, verify_client};
use muster_protocol::pki::{Certificate, TrustAnchor};
use muster_protocol::{Code, FleetId, UnixTime};
use rustls_pki_types::SignatureVerificationAlgorithm;

/// CA certificates by what they are for. Each was read once, so each is a CA.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    factory: Vec<Ca>,
    device: Vec<Ca>,
    operator: Vec<Ca>,
}

#[derive(Clone, Debug)]
struct Ca {
    der: Box<[u8]>,
    subject: Box<[u8]>,
}

impl Ca {
    fn read(der: &[u8]) -> Result<Self, Code> {
        let anchor = TrustAnchor::from_der(der)?;
        let subject = anchor.certificate().subject_der().into();
        Ok(Self { der: der.into(), subject })
    }
}

impl Anchors {
    /// Anchors from certificates in DER.
    ///
    /// # Errors
    /// The first certificate's fault that is no CA.
    pub fn new<'a>(
        factory: impl IntoIterator<Item = &'a [u8]>,
        device: impl IntoIterator<Item = &'a [u8]>,
        operator: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Code> {
        Ok(Self { factory: read_all(factory)?, device: read_all(device)?, operator: read_all(operator)? })
    }

    /// How many factory CAs there are.
    #[must_use]
    pub const fn factory_count(&self) -> usize {
        self.factory.len()
    }

    /// Checks a client's chain, leaf first.
    ///
    /// # Errors
    /// The refusal.
    pub fn verify(
        &self,
        chain: &[&[u8]],
        fleet: &FleetId,
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<VerifiedClient, Code> {
        let certificates: Vec<_> = chain.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
        let named = |cas: &'_ [Ca]| -> Vec<usize> {
            let is_named = |ca: &Ca| certificates.iter().any(|certificate| certificate.issuer_der() == &*ca.subject);
            cas.iter().enumerate().filter(|(_, ca)| is_named(ca)).map(|(index, _)| index).collect()
        };
        let factory = anchors_of(&self.factory, &named(&self.factory));
        let device = anchors_of(&self.device, &named(&self.device));
        let operator = anchors_of(&self.operator, &named(&self.operator));
        let anchors = ClientAnchors { factory: &factory, device: &device, operator: &operator };
        verify_client(chain, &anchors, fleet, now, algorithms)
    }
}

fn read_all<'a>(cas: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Ca>, Code> {
    cas.into_iter().map(Ca::read).collect()
}

fn anchors_of<'a>(cas: &'a [Ca], named: &[usize]) -> Vec<TrustAnchor<'a>> {
    named.iter().filter_map(|index| TrustAnchor::from_der(&cas.get(*index)?.der).ok()).collect()
}

/// The anchors in force.
#[derive(Debug)]
pub struct LiveAnchors(ArcSwap<Anchors>);

impl LiveAnchors {
    /// These anchors, for now.
    #[must_use]
    pub fn new(anchors: Anchors) -> Self {
        Self(ArcSwap::from_pointee(anchors))
    }

    /// What is in force now.
    #[must_use]
    pub fn now(&self) -> Arc<Anchors> {
        self.0.load_full()
    }

    /// From now on these factory CAs; the others stay. Gives how many are gone.
    ///
    /// # Errors
    /// As [`Anchors::new`]; everything stays as it is then.
    pub fn replace_factory(&self, factory: &[&[u8]]) -> Result<usize, Code> {
        let factory = read_all(factory.iter().copied())?;
        let before = self.0.rcu(|now| Anchors { factory: factory.clone(), ..Anchors::clone(now) });
        Ok(before.factory.iter().filter(|old| !factory.iter().any(|new| new.der == old.der)).count())
    }

    /// From now on the device and operator CAs of `anchors`; the factory CAs stay.
    pub fn replace_own(&self, anchors: &Anchors) {
        self.0.rcu(|now| Anchors { factory: now.factory.clone(), ..anchors.clone() });
    }
}
