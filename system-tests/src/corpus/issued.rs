//! Chains for a live world: whoever stole the keys of its gateway CA and of a device shows them, each with one fault. The
//! short list, for devices that take their time; the long one is that of the corpus.

use muster_protocol::{Code, UnixTime};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose as Purpose, IsCa};

use super::recipe::{Recipe, dns};
use super::{Authority, CorpusKey, DAY, ServerCase, Verdict};
use crate::test_pki::TestKey;

/// A certificate with its key.
pub struct Stolen {
    /// The key.
    pub key: TestKey,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
}

/// Who has what is needed to be taken for a gateway, but for one thing at a time.
pub struct Thief {
    ca: Authority,
    device: Authority,
    host: String,
    now: UnixTime,
}

impl Thief {
    /// A thief who has the gateway CA called `name` and a device, and is dialled as `host` at about `now`.
    #[must_use]
    pub fn new(name: &str, ca: Stolen, device: Stolen, host: &str, now: UnixTime) -> Self {
        let ca = Authority::stolen(name, ca.key, ca.certificate);
        let device = Authority::stolen("device", device.key, device.certificate);
        Self { ca, device, host: host.to_owned(), now }
    }

    /// What the honest gateway could show.
    #[must_use]
    pub fn good(&self) -> ServerCase {
        self.valid(self.now.0 - DAY, self.now.0 + DAY)
    }

    /// The same, but from and to these seconds since 1970. What has to be said of it depends on who judges, and when.
    #[must_use]
    pub fn valid(&self, not_before: u64, not_after: u64) -> ServerCase {
        let chain = vec![self.leaf().valid(not_before, not_after).signed_by(&key(), &self.ca)];
        ServerCase { what: "a good one".to_owned(), chain, key: key().pair().clone(), verdict: Verdict::Accepted }
    }

    /// Every bad one.
    #[must_use]
    pub fn bad(&self) -> Vec<ServerCase> {
        let (leaf, key) = (|| self.leaf(), key());
        let (before, after) = (self.now.0 - DAY, self.now.0 + DAY);
        let by_ca = |recipe: Recipe| vec![recipe.signed_by(&key, &self.ca)];
        let sub = Recipe::ca("below", None).valid(before, after);
        let below = Authority::under(&self.ca, sub, CorpusKey::new(306));
        let bought = Recipe::client("urn:muster:acme:dev-1").valid(before, after);
        let bought = Authority::under(&self.ca, bought, CorpusKey::new(307));
        let stranger = Authority::root(Recipe::ca("somebody", None), CorpusKey::new(305));
        let namesake = Authority::stolen(self.ca.name(), CorpusKey::new(304).pair().clone(), self.ca.der().to_vec());
        let by = |issuer: &Authority| leaf().signed_by(&key, issuer);
        let cases = vec![
            ("expired", by_ca(leaf().valid(self.now.0 - 3 * DAY, self.now.0 - DAY / 24)), Code::CertificateExpired),
            ("wrong EKU", by_ca(leaf().purposes(&[Purpose::ClientAuth])), Code::CertificateWrongUsage),
            ("any EKU", by_ca(leaf().purposes(&[Purpose::Any])), Code::CertificateWrongUsage),
            ("no EKU", by_ca(leaf().purposes(&[])), Code::CertificateWrongUsage),
            ("CN without SAN", by_ca(leaf().sans(&[]).common_name(&self.host)), Code::CertificateWrongName),
            ("wrong name", by_ca(leaf().sans(&[dns("other.test")])), Code::CertificateWrongName),
            (
                "wrong name, the right one in the CN",
                by_ca(leaf().sans(&[dns("other.test")]).common_name(&self.host)),
                Code::CertificateWrongName,
            ),
            ("unknown critical extension", by_ca(leaf().unknown_critical()), Code::CertificateProfile),
            (
                "a CA as leaf",
                by_ca(leaf().constraints(IsCa::Ca(BasicConstraints::Unconstrained))),
                Code::CertificateWrongUsage,
            ),
            ("pathLen", vec![by(&below), below.der().to_vec()], Code::CertificateProfile),
            ("signed by a device", vec![by(&self.device), self.device.der().to_vec()], Code::CertificateUntrusted),
            (
                "signed by a device of the gateway CA's",
                vec![by(&bought), bought.der().to_vec()],
                Code::CertificateWrongUsage,
            ),
            ("a device's certificate", vec![self.device.der().to_vec()], Code::CertificateUntrusted),
            ("signed by a stranger", vec![by(&stranger), stranger.der().to_vec()], Code::CertificateUntrusted),
            ("signed by the gateway CA's namesake", vec![by(&namesake)], Code::CertificateBadSignature),
            ("signed by itself", vec![leaf().self_signed(&key)], Code::CertificateSelfSigned),
            ("five certificates", vec![by(&self.ca); 5], Code::CertificateProfile),
            ("junk", vec![b"junk".to_vec()], Code::CertificateMalformed),
        ];
        let case = |(what, chain, code): (&str, _, _)| ServerCase {
            what: what.to_owned(),
            chain,
            key: key.pair().clone(),
            verdict: Verdict::Refused(code),
        };
        cases.into_iter().map(case).collect()
    }

    fn leaf(&self) -> Recipe {
        Recipe::server(&[&self.host]).valid(self.now.0 - DAY, self.now.0 + DAY)
    }
}

fn key() -> CorpusKey {
    CorpusKey::new(100)
}
