//! Chains that a gateway shows, or somebody who wants to be taken for it.

use muster_protocol::Code;
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose as Purpose, GeneralSubtree, IsCa, KeyUsagePurpose as Usage,
    NameConstraints, SanType,
};

use super::mutate::{damaged, replace, resigned};
use super::recipe::{Recipe, dns, uri};
use super::{Authority, CorpusKey, DAY, NAME, NOW, Verdict, World};
use crate::random::Random;
use crate::test_pki::TestKey;

/// One chain, and what has to be said of it by whoever dials [`NAME`] at [`NOW`] and trusts the world's gateway CAs.
pub struct ServerCase {
    /// What is special about it.
    pub what: String,
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key, as far as the leaf has one of ours.
    pub key: TestKey,
    /// The verdict.
    pub verdict: Verdict,
}

/// Every case, the same in every run.
#[must_use]
pub fn server_cases(world: &World) -> Vec<ServerCase> {
    let key = CorpusKey::new(100);
    let mut cases = Cases { world, key, all: Vec::new() };
    cases.good();
    cases.leaves();
    cases.names();
    cases.encodings();
    cases.issuers();
    cases.intermediates();
    cases.lengths();
    cases.damage();
    cases.all
}

struct Cases<'w> {
    world: &'w World,
    key: CorpusKey,
    all: Vec<ServerCase>,
}

impl Cases<'_> {
    fn add(&mut self, what: impl Into<String>, chain: Vec<Vec<u8>>, verdict: Verdict) {
        self.all.push(ServerCase { what: what.into(), chain, key: self.key.pair().clone(), verdict });
    }

    fn refused(&mut self, what: impl Into<String>, chain: Vec<Vec<u8>>, code: Code) {
        self.add(what, chain, Verdict::Refused(code));
    }

    /// A leaf straight from the gateway CA.
    fn leaf(&self, recipe: &Recipe) -> Vec<u8> {
        recipe.signed_by(&self.key, &self.world.gateway_ca)
    }

    fn below(&self, recipe: Recipe, number: u64) -> Authority {
        Authority::under(&self.world.gateway_root, recipe, CorpusKey::new(number))
    }

    fn good(&mut self) {
        let world = self.world;
        let (key, good) = (self.key.clone(), good());
        let leaf = self.leaf(&good);
        let issuing = self.below(Recipe::ca("gateway issuing", Some(0)), 200);
        let below = good.signed_by(&key, &issuing);
        let middle = self.below(Recipe::ca("gateway middle", Some(1)), 201);
        let deep = Authority::under(&middle, Recipe::ca("gateway deep", Some(0)), CorpusKey::new(202));
        let twice = Recipe::server(&["other.test", NAME, "192.0.2.7", "a.test", "b.test", "c.test"]);
        for (what, chain) in [
            ("leaf of the gateway CA", vec![leaf.clone()]),
            ("with the CA itself", vec![leaf.clone(), world.gateway_ca.der().to_vec()]),
            ("with a stranger's CA behind it", vec![leaf, world.device_ca.der().to_vec()]),
            ("leaf of an issuing CA", vec![below.clone(), issuing.der().to_vec()]),
            ("out of order", vec![below, world.gateway_root.der().to_vec(), issuing.der().to_vec()]),
            ("two CAs deep", vec![good.signed_by(&key, &deep), deep.der().to_vec(), middle.der().to_vec()]),
            ("leaf of the CA being replaced", vec![good.signed_by(&key, &world.gateway_old)]),
            ("one name of many", vec![self.leaf(&twice)]),
            ("a name in capitals", vec![self.leaf(&Recipe::server(&["GATEWAY.TEST"]))]),
            ("an extension that nobody has to know", vec![self.leaf(&good.clone().unknown_ordinary())]),
            ("valid from this second", vec![self.leaf(&good.clone().valid(NOW.0, NOW.0 + DAY))]),
            ("valid until this second", vec![self.leaf(&good.clone().valid(NOW.0 - DAY, NOW.0))]),
            // Whoever has such a certificate was given it: our clock is behind.
            ("made after our clock's time", vec![self.leaf(&good.clone().valid(NOW.0 + DAY, NOW.0 + 2 * DAY))]),
            ("valid without end", vec![self.leaf(&good.clone().valid(NOW.0, 253_402_300_799))]),
            ("a CA that may sign for this domain", {
                let narrow = self.below(constrained(&["test"], &[]), 203);
                vec![good.signed_by(&key, &narrow), narrow.der().to_vec()]
            }),
            ("explicitly no CA", vec![self.leaf(&good.clone().constraints(IsCa::ExplicitNoCa))]),
            ("a serial of 20 octets", vec![self.leaf(&good.serial(&[0x11; 20]))]),
        ] {
            self.add(what, chain, Verdict::Accepted);
        }
    }

    /// What the gateway CA could sign by mistake, or under an attacker's hand.
    fn leaves(&mut self) {
        let server = good;
        let cases = [
            ("expired a second ago", server().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
            ("expired for ten years", server().valid(NOW.0 - 3660 * DAY, NOW.0 - 3650 * DAY), Code::CertificateExpired),
            ("ends before it starts", server().valid(NOW.0 - DAY, NOW.0 - 2 * DAY), Code::CertificateProfile),
            ("no key purpose", server().purposes(&[]), Code::CertificateWrongUsage),
            ("clientAuth", server().purposes(&[Purpose::ClientAuth]), Code::CertificateWrongUsage),
            ("any purpose", server().purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
            ("code signing", server().purposes(&[Purpose::CodeSigning]), Code::CertificateWrongUsage),
            ("email", server().purposes(&[Purpose::EmailProtection]), Code::CertificateWrongUsage),
            ("OCSP signing", server().purposes(&[Purpose::OcspSigning]), Code::CertificateWrongUsage),
            ("time stamping", server().purposes(&[Purpose::TimeStamping]), Code::CertificateWrongUsage),
            (
                "another purpose",
                server().purposes(&[Purpose::Other(vec![1, 3, 6, 1, 4, 1, 9])]),
                Code::CertificateWrongUsage,
            ),
            (
                "serverAuth and any",
                server().purposes(&[Purpose::ServerAuth, Purpose::Any]),
                Code::CertificateWrongUsage,
            ),
            (
                "any and serverAuth",
                server().purposes(&[Purpose::Any, Purpose::ServerAuth]),
                Code::CertificateWrongUsage,
            ),
            (
                "server and client",
                server().purposes(&[Purpose::ServerAuth, Purpose::ClientAuth]),
                Code::CertificateWrongUsage,
            ),
            (
                "client and server",
                server().purposes(&[Purpose::ClientAuth, Purpose::ServerAuth]),
                Code::CertificateWrongUsage,
            ),
            ("no key usage", server().usages(&[]), Code::CertificateProfile),
            ("key encipherment", server().usages(&[Usage::KeyEncipherment]), Code::CertificateWrongUsage),
            ("key agreement", server().usages(&[Usage::KeyAgreement]), Code::CertificateWrongUsage),
            ("content commitment", server().usages(&[Usage::ContentCommitment]), Code::CertificateWrongUsage),
            (
                "keyCertSign",
                server().usages(&[Usage::DigitalSignature, Usage::KeyCertSign]),
                Code::CertificateWrongUsage,
            ),
            ("cRLSign", server().usages(&[Usage::DigitalSignature, Usage::CrlSign]), Code::CertificateWrongUsage),
            ("a CA", server().constraints(IsCa::Ca(BasicConstraints::Unconstrained)), Code::CertificateWrongUsage),
            (
                "a CA of length 0",
                server().constraints(IsCa::Ca(BasicConstraints::Constrained(0))),
                Code::CertificateWrongUsage,
            ),
            ("unknown critical extension", server().unknown_critical(), Code::CertificateProfile),
            ("serial zero", server().serial(&[0]), Code::CertificateProfile),
            ("serial of 21 octets", server().serial(&[0x11; 21]), Code::CertificateProfile),
            ("serial of 20 octets and a sign", server().serial(&[0x91; 20]), Code::CertificateProfile),
        ];
        for (what, recipe, code) in cases {
            let chain = vec![self.leaf(&recipe)];
            self.refused(what, chain, code);
        }
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let chain = vec![good().signed_by(&p384, &self.world.gateway_ca)];
        self.refused("a P-384 key", chain, Code::CertificateProfile);
        let chain = vec![good().signed_by(&ed25519, &self.world.gateway_ca)];
        self.refused("an Ed25519 key", chain, Code::CertificateProfile);
    }

    fn names(&mut self) {
        let ip = |text: &str| SanType::IpAddress(text.parse().expect("an address"));
        let cases: Vec<(&str, Vec<SanType>)> = vec![
            ("no SAN", vec![]),
            ("another name", vec![dns("other.test")]),
            ("the domain alone", vec![dns("test")]),
            ("a name below", vec![dns("x.gateway.test")]),
            ("a longer name", vec![dns("gateway.test.example")]),
            ("a prefix", vec![dns("xgateway.test")]),
            ("a suffix", vec![dns("gateway.testx")]),
            ("a wildcard one level too deep", vec![dns("*.gateway.test")]),
            ("a wildcard for a whole top-level domain", vec![dns("*.test")]),
            ("a wildcard for everything", vec![dns("*")]),
            ("a partial wildcard", vec![dns("gate*.test")]),
            ("the name as URI", vec![uri("gateway.test")]),
            ("the name as HTTPS URI", vec![uri("https://gateway.test")]),
            ("the name as mail address", vec![SanType::Rfc822Name("gateway.test".try_into().expect("a name"))]),
            ("an address", vec![ip("192.0.2.7")]),
            ("an IPv6 address", vec![ip("2001:db8::7")]),
            ("a device's URI", vec![uri("urn:muster:acme:dev-1")]),
            ("ten other names", (0..10).map(|n| dns(&format!("n{n}.test"))).collect()),
        ];
        for (what, sans) in cases {
            let plain = self.leaf(&good().sans(&sans));
            self.refused(what, vec![plain], Code::CertificateWrongName);
            let with_cn = self.leaf(&good().sans(&sans).common_name(NAME));
            self.refused(format!("{what}, the name in the CN"), vec![with_cn], Code::CertificateWrongName);
        }
    }

    /// Faults of the CA itself: correctly signed, and wrong inside.
    fn encodings(&mut self) {
        let leaf = self.leaf(&good());
        let ca = self.world.gateway_ca.pair().clone();
        let point = self.key.public().as_sec1().to_vec();
        let changes: Vec<(&str, Vec<u8>, Vec<u8>, Verdict)> = vec![
            (
                "a point off the curve",
                point.clone(),
                point.iter().enumerate().map(|(at, byte)| if at == 64 { byte ^ 1 } else { *byte }).collect(),
                Verdict::Refused(Code::CertificateProfile),
            ),
            (
                "a hybrid point",
                point.clone(),
                [&[0x06], &point[1..]].concat(),
                Verdict::Refused(Code::CertificateProfile),
            ),
            (
                "version 2",
                vec![0xa0, 0x03, 0x02, 0x01, 0x02],
                vec![0xa0, 0x03, 0x02, 0x01, 0x01],
                Verdict::Refused(Code::CertificateMalformed),
            ),
            (
                "version 4",
                vec![0xa0, 0x03, 0x02, 0x01, 0x02],
                vec![0xa0, 0x03, 0x02, 0x01, 0x03],
                Verdict::Refused(Code::CertificateMalformed),
            ),
            // criticality of keyUsage written out as FALSE is BER, not DER; TRUE as 0x01 likewise.
            (
                "a boolean that is not DER",
                vec![0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff],
                vec![0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0x01],
                Verdict::RefusedSomehow,
            ),
            (
                "SAN and extended key usage swapped for unknown OIDs",
                vec![0x06, 0x03, 0x55, 0x1d, 0x25],
                vec![0x06, 0x03, 0x55, 0x1d, 0x7d],
                Verdict::Refused(Code::CertificateWrongUsage),
            ),
            (
                "the SAN under another OID",
                vec![0x06, 0x03, 0x55, 0x1d, 0x11],
                vec![0x06, 0x03, 0x55, 0x1d, 0x7d],
                Verdict::Refused(Code::CertificateWrongName),
            ),
            (
                "keyUsage as a second SAN",
                vec![0x06, 0x03, 0x55, 0x1d, 0x0f],
                vec![0x06, 0x03, 0x55, 0x1d, 0x11],
                Verdict::RefusedSomehow,
            ),
            ("a NUL in the name", b"gateway.test".to_vec(), b"gateway\0test".to_vec(), Verdict::RefusedSomehow),
            (
                "ecdsa-with-SHA384 inside",
                vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
                vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
                Verdict::RefusedSomehow,
            ),
            (
                "another curve's OID",
                vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
                vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x06],
                Verdict::Refused(Code::CertificateProfile),
            ),
        ];
        for (what, from, to, verdict) in changes {
            let forged = resigned(&leaf, &ca, |tbs| replace(tbs, &from, &to));
            assert_ne!(forged, leaf, "{what}");
            self.add(what, vec![forged], verdict);
        }
        let mut both = leaf.clone();
        replace(&mut both, &[0x3d, 0x04, 0x03, 0x02], &[0x3d, 0x04, 0x03, 0x03]);
        self.refused("ecdsa-with-SHA384 everywhere", vec![both], Code::CertificateProfile);
        self.refused("no certificate at all", vec![vec![]], Code::CertificateMalformed);
        self.refused("junk", vec![b"junk".to_vec()], Code::CertificateMalformed);
        self.refused("a byte behind it", vec![[&leaf[..], &[0]].concat()], Code::CertificateMalformed);
        self.refused("a byte short", vec![leaf[..leaf.len() - 1].to_vec()], Code::CertificateMalformed);
        let pem = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec();
        self.refused("PEM", vec![pem], Code::CertificateMalformed);
        self.refused("good, and junk behind it", vec![leaf, b"junk".to_vec()], Code::CertificateMalformed);
    }

    fn issuers(&mut self) {
        let world = self.world;
        let key = self.key.clone();
        let server = good();
        let device = Authority::under(&world.device_ca, Recipe::client("urn:muster:acme:dev-1"), CorpusKey::new(300));
        let idevid = Authority::under(&world.factory, Recipe::device("urn:muster:acme:dev-1"), CorpusKey::new(301));
        let operator =
            Authority::under(&world.operator_ca, Recipe::client("urn:muster:acme:operator:ada"), CorpusKey::new(302));
        let other_gateway = Authority::under(&world.gateway_ca, Recipe::server(&["other.test"]), CorpusKey::new(303));
        let same_name = Authority::root(Recipe::ca("gateway CA", Some(0)), CorpusKey::new(304));
        let stranger = Authority::root(Recipe::ca("somebody", None), CorpusKey::new(305));
        let below_zero = Authority::under(&world.gateway_ca, Recipe::ca("below", None), CorpusKey::new(306));
        let device_by_gateway =
            Authority::under(&world.gateway_root, Recipe::client("urn:muster:acme:dev-1"), CorpusKey::new(307));
        let by = |issuer: &Authority| server.signed_by(&key, issuer);
        let cases = vec![
            ("signed by itself", vec![server.self_signed(&key)], Code::CertificateSelfSigned),
            ("signed by itself, twice", vec![server.self_signed(&key); 2], Code::CertificateSelfSigned),
            ("by the device CA", vec![by(&world.device_ca)], Code::CertificateUntrusted),
            (
                "by the device CA, sent along",
                vec![by(&world.device_ca), world.device_ca.der().to_vec()],
                Code::CertificateUntrusted,
            ),
            ("by the operator CA", vec![by(&world.operator_ca)], Code::CertificateUntrusted),
            ("by the factory", vec![by(&world.factory), world.factory.der().to_vec()], Code::CertificateUntrusted),
            (
                "by the factory, root sent along",
                vec![by(&world.factory), world.factory.der().to_vec(), world.factory_root.der().to_vec()],
                Code::CertificateUntrusted,
            ),
            ("by a device", vec![by(&device), device.der().to_vec()], Code::CertificateUntrusted),
            (
                "by a device, its CA sent along",
                vec![by(&device), device.der().to_vec(), world.device_ca.der().to_vec()],
                Code::CertificateUntrusted,
            ),
            ("by an IDevID", vec![by(&idevid), idevid.der().to_vec()], Code::CertificateUntrusted),
            ("by an operator", vec![by(&operator), operator.der().to_vec()], Code::CertificateUntrusted),
            ("by another gateway", vec![by(&other_gateway), other_gateway.der().to_vec()], Code::CertificateWrongUsage),
            (
                "by a device that a gateway CA issued",
                vec![by(&device_by_gateway), device_by_gateway.der().to_vec()],
                Code::CertificateWrongUsage,
            ),
            ("by a stranger", vec![by(&stranger)], Code::CertificateUntrusted),
            ("by a stranger, sent along", vec![by(&stranger), stranger.der().to_vec()], Code::CertificateUntrusted),
            ("by another key of our CA's name", vec![by(&same_name)], Code::CertificateBadSignature),
            (
                "by another key of our CA's name, sent along",
                vec![by(&same_name), same_name.der().to_vec()],
                Code::CertificateBadSignature,
            ),
            ("below a CA of length 0", vec![by(&below_zero), below_zero.der().to_vec()], Code::CertificateProfile),
            ("an intermediate missing", vec![by(&below_zero)], Code::CertificateUntrusted),
            ("a CA as leaf", vec![world.gateway_ca.der().to_vec()], Code::CertificateWrongUsage),
            ("the device CA as leaf", vec![world.device_ca.der().to_vec()], Code::CertificateSelfSigned),
            ("a device's certificate", vec![device.der().to_vec()], Code::CertificateUntrusted),
            ("an IDevID", vec![idevid.der().to_vec(), world.factory.der().to_vec()], Code::CertificateUntrusted),
            (
                "a device's certificate of a gateway CA",
                vec![device_by_gateway.der().to_vec()],
                Code::CertificateWrongUsage,
            ),
            ("the other gateway's certificate", vec![other_gateway.der().to_vec()], Code::CertificateWrongName),
            ("ours behind a stranger's", vec![by(&stranger), by(&world.gateway_ca)], Code::CertificateUntrusted),
        ];
        for (what, chain, code) in cases {
            self.refused(what, chain, code);
        }
    }

    /// Chains through an intermediate that has a fault.
    fn intermediates(&mut self) {
        let ca = || Recipe::ca("gateway issuing", Some(0));
        let cases = vec![
            ("expired", ca().valid(NOW.0 - 99 * DAY, NOW.0 - 1), Code::CertificateExpired),
            ("not yet valid", ca().valid(NOW.0 + 1, NOW.0 + 9 * DAY), Code::CertificateNotYetValid),
            ("ends before it starts", ca().valid(NOW.0, NOW.0 - DAY), Code::CertificateProfile),
            ("no CA", ca().constraints(IsCa::NoCa), Code::CertificateWrongUsage),
            ("explicitly no CA", ca().constraints(IsCa::ExplicitNoCa), Code::CertificateWrongUsage),
            ("no keyCertSign", ca().usages(&[Usage::DigitalSignature, Usage::CrlSign]), Code::CertificateWrongUsage),
            ("no key usage", ca().usages(&[]), Code::CertificateWrongUsage),
            ("clientAuth only", ca().purposes(&[Purpose::ClientAuth]), Code::CertificateWrongUsage),
            ("code signing only", ca().purposes(&[Purpose::CodeSigning]), Code::CertificateWrongUsage),
            ("unknown critical extension", ca().unknown_critical(), Code::CertificateProfile),
            ("serial zero", ca().serial(&[0]), Code::CertificateProfile),
            ("serial of 21 octets", ca().serial(&[0x11; 21]), Code::CertificateProfile),
            ("may sign for another domain", constrained(&["example"], &[]), Code::CertificateProfile),
            ("may not sign for this name", constrained(&[], &["gateway.test"]), Code::CertificateProfile),
            ("may not sign for this domain", constrained(&["test"], &["test"]), Code::CertificateProfile),
        ];
        for (number, (what, recipe, code)) in (400..).zip(cases) {
            let issuing = self.below(recipe, number);
            let chain = vec![good().signed_by(&self.key, &issuing), issuing.der().to_vec()];
            self.refused(format!("an intermediate: {what}"), chain, code);
        }
        let zero = self.below(Recipe::ca("gateway zero", Some(0)), 450);
        let under = Authority::under(&zero, Recipe::ca("gateway under", None), CorpusKey::new(451));
        let chain = vec![good().signed_by(&self.key, &under), under.der().to_vec(), zero.der().to_vec()];
        self.refused("below an intermediate of length 0", chain, Code::CertificateProfile);
        let one = self.below(Recipe::ca("gateway one", Some(1)), 452);
        let two = Authority::under(&one, Recipe::ca("gateway two", None), CorpusKey::new(453));
        let three = Authority::under(&two, Recipe::ca("gateway three", None), CorpusKey::new(454));
        let chain = [&three, &two, &one].map(|ca| ca.der().to_vec());
        let chain = std::iter::once(good().signed_by(&self.key, &three)).chain(chain).collect();
        self.refused("two below an intermediate of length 1", chain, Code::CertificateProfile);
        let issuing = self.below(ca(), 455);
        let other = self.below(ca(), 456);
        let chain = vec![good().signed_by(&self.key, &issuing), other.der().to_vec()];
        self.refused("an intermediate: same name, another key", chain, Code::CertificateBadSignature);
    }

    fn lengths(&mut self) {
        let leaf = self.leaf(&good());
        let device_ca = self.world.device_ca.der().to_vec();
        let chain = [vec![leaf.clone()], vec![device_ca; 4]].concat();
        self.refused("five certificates", chain, Code::CertificateProfile);
        self.refused("the same leaf five times", vec![leaf; 5], Code::CertificateProfile);
    }

    fn damage(&mut self) {
        let mut random = Random::new(3);
        let issuing = self.below(Recipe::ca("gateway issuing", Some(0)), 200);
        let one = vec![self.leaf(&good())];
        let two = vec![good().signed_by(&self.key, &issuing), issuing.der().to_vec()];
        for (name, chain, needed, count) in [("one", one, 1, 80), ("two", two, 2, 80)] {
            for damaged in damaged(&chain, needed, count, &mut random) {
                self.add(format!("{name}: {}", damaged.what), damaged.chain, Verdict::RefusedSomehow);
            }
        }
    }
}

fn good() -> Recipe {
    Recipe::server(&[NAME])
}

fn constrained(permitted: &[&str], excluded: &[&str]) -> Recipe {
    let subtrees = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
    let constraints =
        NameConstraints { permitted_subtrees: subtrees(permitted), excluded_subtrees: subtrees(excluded) };
    Recipe::ca("gateway narrow", Some(0)).with(|params| params.name_constraints = Some(constraints))
}
