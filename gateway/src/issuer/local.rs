//! A CA whose key lies in the gateway's directory.

use std::sync::Arc;

use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::chain::{ClientAnchors, verify_client, verify_issued};
use muster_protocol::pki::key::PublicKey;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::{Code, Identity};

use super::{IssueError, Issuer, Issuing, Validity};

/// Issues with a key in memory. Signing and checking take a good half of a millisecond, off the threads that serve.
#[derive(Clone)]
pub struct LocalIssuer(Arc<muster_issuing::Issuer>);

impl LocalIssuer {
    /// From a CA that was opened: its certificate fits its key and its profile.
    #[must_use]
    pub fn new(authority: muster_issuing::Issuer) -> Self {
        Self(Arc::new(authority))
    }

    /// The CA's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.0.certificate()
    }
}

impl Issuer for LocalIssuer {
    fn issue<'a>(&'a self, identity: &'a Identity, key: &'a PublicKey, validity: Validity) -> Issuing<'a> {
        let (authority, identity, key) = (Arc::clone(&self.0), identity.clone(), *key);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || issue(&authority, &identity, &key, validity));
            task.await.map_err(|error| IssueError::Signing(error.to_string()))?
        })
    }
}

fn issue(
    authority: &muster_issuing::Issuer,
    identity: &Identity,
    key: &PublicKey,
    validity: Validity,
) -> Result<Vec<u8>, IssueError> {
    let profile = match identity {
        Identity::Device { .. } => Profile::Ldevid,
        Identity::Service { .. } => Profile::Service,
        Identity::Operator { .. } => Profile::Operator,
    };
    let own = Certificate::parse(authority.certificate()).map_err(IssueError::Verdict)?;
    // No certificate outlives its CA, nor was there before it.
    let not_before = validity.not_before.max(own.not_before());
    let not_after = validity.not_after.min(own.not_after());
    if not_before >= not_after {
        return Err(IssueError::CaExpired);
    }
    let validity = muster_issuing::issuer::Validity { not_before, not_after };
    let der = authority.issue_with(profile, identity, key, validity).map_err(|error| match error {
        muster_issuing::IssueError::WrongProfile(_) => IssueError::WrongRole(identity.clone()),
        muster_issuing::IssueError::Lint { rule, section } => IssueError::Profile { rule, section },
        muster_issuing::IssueError::Verify(code) => IssueError::Verdict(code),
        other => IssueError::Signing(other.to_string()),
    })?;
    verify(&der, authority.certificate(), identity, key).map_err(IssueError::Verdict)?;
    Ok(der)
}

/// The same checks as the holder makes when it gets the certificate, and the gateway when the holder comes with it.
fn verify(der: &[u8], ca: &[u8], identity: &Identity, key: &PublicKey) -> Result<(), Code> {
    let issued = verify_issued(der, identity, key)?;
    let anchors = [TrustAnchor::from_der(ca)?];
    let group = match identity {
        Identity::Device { .. } => ClientAnchors { device: &anchors, ..ClientAnchors::default() },
        _ => ClientAnchors { operator: &anchors, ..ClientAnchors::default() },
    };
    let algorithms = [webpki::aws_lc_rs::ECDSA_P256_SHA256];
    let client = verify_client(&[der], &group, identity.fleet(), issued.not_before(), &algorithms)?;
    if client.identity() == identity { Ok(()) } else { Err(Code::CertificateWrongName) }
}

#[cfg(test)]
mod tests {
    use muster_issuing::KeyPair;
    use muster_protocol::{DeviceId, FleetId, UnixTime};

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn authority(profile: Profile) -> LocalIssuer {
        let key = KeyPair::generate().unwrap();
        LocalIssuer::new(muster_issuing::Issuer::create(profile, "CA of a test", key, NOW).unwrap())
    }

    fn identities() -> [Identity; 3] {
        let fleet = FleetId::new("acme").unwrap();
        let name = DeviceId::new("one").unwrap();
        [
            Identity::device(fleet.clone(), name.clone()),
            Identity::Service { fleet: fleet.clone(), name: name.clone() },
            Identity::Operator { fleet, name },
        ]
    }

    #[tokio::test]
    async fn each_ca_certifies_its_own_roles_and_no_other() {
        let key = KeyPair::generate().unwrap().public_key();
        let validity = Validity::from_now(NOW.plus_secs(1000), 3600);
        for (profile, allowed) in
            [(Profile::DeviceCa, [true, false, false]), (Profile::OperatorCa, [false, true, true])]
        {
            let issuer = authority(profile);
            for (identity, allowed) in identities().iter().zip(allowed) {
                let issued = issuer.issue(identity, &key, validity).await;
                assert_eq!(issued.is_ok(), allowed, "{identity}: {issued:?}");
            }
        }
    }

    #[tokio::test]
    async fn no_certificate_outlives_its_ca_or_was_there_before_it() {
        let issuer = authority(Profile::DeviceCa);
        let [identity, ..] = identities();
        let key = KeyPair::generate().unwrap().public_key();
        let ca = issuer.certificate().to_vec();
        let ca = Certificate::parse(&ca).unwrap();
        let late = UnixTime(ca.not_after().0 - 60);
        for (now, life_secs) in [(NOW, 3600), (late, 3600)] {
            let der = issuer.issue(&identity, &key, Validity::from_now(now, life_secs)).await.unwrap();
            let made = Certificate::parse(&der).unwrap();
            assert!(made.not_before() >= ca.not_before() && made.not_after() <= ca.not_after());
        }
        let over = Validity::from_now(ca.not_after().plus_secs(1000), 3600);
        assert!(matches!(issuer.issue(&identity, &key, over).await, Err(IssueError::CaExpired)));
    }
}
