//! Clients' chains: the four roles, and a code for every fault.

use muster_protocol::pki::{ClientAnchors, ECDSA_P256_SHA256, Role, TrustAnchor, VerifiedClient, verify_client};
use muster_protocol::{Code, UnixTime};
use rcgen::{
    ExtendedKeyUsagePurpose as Purpose, GeneralSubtree, IsCa, KeyUsagePurpose as Usage, NameConstraints, SanType,
};

use super::maker::{Ca, Criticality, DAY, Key, NOW, Recipe, World, fleet, forge, patch};

const DEVICE: &str = "urn:muster:acme:dev-1";

struct Anchors<'w> {
    factory: Vec<&'w [u8]>,
    device: Vec<&'w [u8]>,
    operator: Vec<&'w [u8]>,
}

impl Anchors<'_> {
    fn verify_at(&self, chain: &[&[u8]], now: UnixTime) -> Result<VerifiedClient, Code> {
        let read = |ders: &[&'_ [u8]]| -> Vec<TrustAnchor<'static>> {
            ders.iter().map(|der| TrustAnchor::from_der(der.to_vec().leak()).unwrap()).collect()
        };
        let (factory, device, operator) = (read(&self.factory), read(&self.device), read(&self.operator));
        let anchors = ClientAnchors { factory: &factory, device: &device, operator: &operator };
        verify_client(chain, &anchors, &fleet(), now, &[ECDSA_P256_SHA256])
    }

    fn verify(&self, chain: &[&[u8]]) -> Result<VerifiedClient, Code> {
        self.verify_at(chain, NOW)
    }
}

fn anchors(world: &World) -> Anchors<'_> {
    Anchors {
        factory: vec![&world.factory_root.der, &world.factory.der],
        device: vec![&world.device_ca.der],
        operator: vec![&world.operator_ca.der],
    }
}

#[test]
fn each_role_follows_from_issuer_and_name() {
    let world = World::new();
    let key = Key::new(9);
    let of = |recipe: Recipe, ca: &Ca| recipe.signed_by(&key, ca);
    for (der, role, device, issuer) in [
        (of(Recipe::leaf(DEVICE), &world.factory), Role::Idevid, Some("dev-1"), &world.factory),
        (of(Recipe::client(DEVICE), &world.factory), Role::Idevid, Some("dev-1"), &world.factory),
        (of(Recipe::client(DEVICE), &world.device_ca), Role::Ldevid, Some("dev-1"), &world.device_ca),
        (
            of(Recipe::client("urn:muster:acme:service:ingest"), &world.operator_ca),
            Role::Service,
            None,
            &world.operator_ca,
        ),
        (
            of(Recipe::client("urn:muster:acme:operator:ada"), &world.operator_ca),
            Role::Operator,
            None,
            &world.operator_ca,
        ),
    ] {
        let client = anchors(&world).verify(&[&der]).unwrap();
        assert_eq!(client.role(), role);
        assert_eq!(client.device().map(|device| device.as_str()), device);
        assert_eq!(client.public_key(), &key.public());
        assert_eq!(client.fingerprint(), key.public().fingerprint());
        assert_eq!(client.issuer_key(), &issuer.key.public());
        assert_eq!(client.serial().to_string(), "5a".repeat(16));
        assert_eq!((client.not_before(), client.not_after()), (UnixTime(NOW.0 - DAY), UnixTime(NOW.0 + 6 * DAY)));
    }
}

#[test]
fn an_issuing_ca_may_be_sent_along_and_so_may_the_root() {
    let world = World::new();
    let key = Key::new(9);
    let leaf = Recipe::leaf(DEVICE).signed_by(&key, &world.factory);
    let root_only = Anchors { factory: vec![&world.factory_root.der], ..anchors(&world) };
    for chain in [
        &[&leaf[..], &world.factory.der][..],
        &[&leaf, &world.factory.der, &world.factory_root.der],
        &[&leaf, &world.factory_root.der, &world.factory.der],
        &[&leaf, &world.device_ca.der, &world.gateway_ca.der, &world.factory.der],
    ] {
        let client = root_only.verify(chain).unwrap();
        assert_eq!(client.issuer_key(), &world.factory.key.public());
    }
    assert_eq!(root_only.verify(&[&leaf]), Err(Code::CertificateUntrusted));
}

#[test]
fn validity_counts_to_the_second_and_an_idevid_has_no_end() {
    let world = World::new();
    let key = Key::new(9);
    let leaf = Recipe::client(DEVICE).signed_by(&key, &world.device_ca);
    let judge = |now| anchors(&world).verify_at(&[&leaf], UnixTime(now)).map(|_| ());
    assert_eq!(judge(NOW.0 - DAY), Ok(()));
    assert_eq!(judge(NOW.0 - DAY - 1), Err(Code::CertificateNotYetValid));
    assert_eq!(judge(NOW.0 + 6 * DAY), Ok(()));
    assert_eq!(judge(NOW.0 + 6 * DAY + 1), Err(Code::CertificateExpired));

    let idevid = Recipe::leaf(DEVICE).valid(NOW.0, UnixTime::FOREVER.0).signed_by(&key, &world.factory);
    // The issuing CA is an anchor here: an anchor is a key and does not expire.
    let client = anchors(&world).verify_at(&[&idevid], UnixTime(NOW.0 + 30_000 * DAY)).unwrap();
    assert_eq!(client.not_after(), UnixTime::FOREVER);
}

#[test]
fn two_cas_of_one_name_are_both_tried() {
    let world = World::new();
    let old = Ca::root(Recipe::ca("device CA", Some(0)), Key::new(30));
    let key = Key::new(9);
    let both = Anchors { device: vec![&old.der, &world.device_ca.der], ..anchors(&world) };
    for issuer in [&old, &world.device_ca] {
        let leaf = Recipe::client(DEVICE).signed_by(&key, issuer);
        assert_eq!(both.verify(&[&leaf]).unwrap().issuer_key(), &issuer.key.public());
    }
    let leaf = Recipe::client(DEVICE).signed_by(&key, &old);
    assert_eq!(anchors(&world).verify(&[&leaf]), Err(Code::CertificateBadSignature));
}

/// Leaf faults: what the device CA, the factory or the operator CA could sign by mistake or under an attacker's hand.
#[test]
fn each_fault_of_a_leaf_has_its_code() {
    let world = World::new();
    let key = Key::new(9);
    let client = || Recipe::client(DEVICE);
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = SanType::DnsName("dev-1.example".try_into().unwrap());
    let by_device_ca: Vec<(&str, Recipe, Code)> = vec![
        ("expired", client().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
        ("not yet valid", client().valid(NOW.0 + 1, NOW.0 + 9 * DAY), Code::CertificateNotYetValid),
        ("ends before it starts", client().valid(NOW.0 + DAY, NOW.0 - DAY), Code::CertificateProfile),
        ("no key purpose", client().purposes(&[]), Code::CertificateWrongUsage),
        ("serverAuth", client().purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("anyExtendedKeyUsage", client().purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
        ("any beside clientAuth", client().purposes(&[Purpose::ClientAuth, Purpose::Any]), Code::CertificateWrongUsage),
        (
            "server and client",
            client().purposes(&[Purpose::ClientAuth, Purpose::ServerAuth]),
            Code::CertificateWrongUsage,
        ),
        (
            "client purpose last",
            client().purposes(&[Purpose::CodeSigning, Purpose::ClientAuth]),
            Code::CertificateWrongUsage,
        ),
        ("code signing", client().purposes(&[Purpose::CodeSigning]), Code::CertificateWrongUsage),
        ("no key usage", client().usages(&[]), Code::CertificateProfile),
        ("key agreement only", client().usages(&[Usage::KeyAgreement]), Code::CertificateWrongUsage),
        ("keyCertSign", client().usages(&[Usage::DigitalSignature, Usage::KeyCertSign]), Code::CertificateWrongUsage),
        ("cRLSign", client().usages(&[Usage::DigitalSignature, Usage::CrlSign]), Code::CertificateWrongUsage),
        (
            "a CA",
            client().with(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            Code::CertificateWrongUsage,
        ),
        ("unknown critical extension", client().unknown_extension(Criticality::Critical), Code::CertificateProfile),
        ("no SAN", client().sans(&[]), Code::CertificateNoIdentity),
        ("DNS SAN", client().sans(std::slice::from_ref(&dns)), Code::CertificateNoIdentity),
        ("DNS beside URI", client().sans(&[uri(DEVICE), dns]), Code::CertificateNoIdentity),
        ("two URIs", client().sans(&[uri(DEVICE), uri("urn:muster:acme:dev-2")]), Code::CertificateNoIdentity),
        ("the same URI twice", client().sans(&[uri(DEVICE), uri(DEVICE)]), Code::CertificateNoIdentity),
        ("foreign URI", client().sans(&[uri("https://acme.example/dev-1")]), Code::CertificateNoIdentity),
        ("a slash in the id", client().sans(&[uri("urn:muster:acme:dev/1")]), Code::CertificateNoIdentity),
        ("a wildcard id", client().sans(&[uri("urn:muster:acme:+")]), Code::CertificateNoIdentity),
        ("upper-case scheme", client().sans(&[uri("URN:muster:acme:dev-1")]), Code::CertificateNoIdentity),
        ("other fleet", client().sans(&[uri("urn:muster:evil:dev-1")]), Code::CertificateWrongFleet),
        ("a service", client().sans(&[uri("urn:muster:acme:service:x")]), Code::CertificateProfile),
        ("an operator", client().sans(&[uri("urn:muster:acme:operator:root")]), Code::CertificateProfile),
        ("serial zero", client().serial(&[0]), Code::CertificateProfile),
        ("serial of 21 octets", client().serial(&[0x11; 21]), Code::CertificateProfile),
        ("serial of 20 octets and a sign", client().serial(&[0x91; 20]), Code::CertificateProfile),
    ];
    for (what, recipe, code) in by_device_ca {
        let leaf = recipe.signed_by(&key, &world.device_ca);
        assert_eq!(anchors(&world).verify(&[&leaf]), Err(code), "{what}");
    }
    let by_factory = [
        ("serverAuth", Recipe::leaf(DEVICE).purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        (
            "both purposes",
            Recipe::leaf(DEVICE).purposes(&[Purpose::ClientAuth, Purpose::ServerAuth]),
            Code::CertificateWrongUsage,
        ),
        ("any purpose", Recipe::leaf(DEVICE).purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
        ("an operator", Recipe::leaf("urn:muster:acme:operator:root"), Code::CertificateProfile),
    ];
    for (what, recipe, code) in by_factory {
        let leaf = recipe.signed_by(&key, &world.factory);
        assert_eq!(anchors(&world).verify(&[&leaf]), Err(code), "{what}");
    }
    let device_by_operator_ca = client().signed_by(&key, &world.operator_ca);
    assert_eq!(anchors(&world).verify(&[&device_by_operator_ca]), Err(Code::CertificateProfile));
}

#[test]
fn harmless_extensions_are_passed_over() {
    let world = World::new();
    let leaf =
        Recipe::client(DEVICE).unknown_extension(Criticality::Ordinary).signed_by(&Key::new(9), &world.device_ca);
    assert!(anchors(&world).verify(&[&leaf]).is_ok());
}

#[test]
fn who_is_not_signed_by_an_anchor_is_untrusted_or_self_signed() {
    let world = World::new();
    let key = Key::new(9);
    let stranger = Ca::root(Recipe::ca("somebody", None), Key::new(20));
    let impostor = Ca::root(Recipe::ca("device CA", Some(0)), Key::new(21));
    let own = Recipe::client(DEVICE).self_signed(&key);
    // Named like our CA, and signed by its own key.
    let own_as_ours = Recipe::client(DEVICE).signed_by(&impostor.key, &impostor);
    let expired = Recipe::client(DEVICE).valid(NOW.0 - 9 * DAY, NOW.0 - 1);
    for (what, chain, code) in [
        ("empty", vec![], Code::CertificateMissing),
        ("self-signed", vec![own.clone()], Code::CertificateSelfSigned),
        ("self-signed by our CA's name", vec![own_as_ours], Code::CertificateSelfSigned),
        ("self-signed, twice", vec![own.clone(), own], Code::CertificateSelfSigned),
        ("unknown CA", vec![Recipe::client(DEVICE).signed_by(&key, &stranger)], Code::CertificateUntrusted),
        (
            "unknown CA sent along",
            vec![Recipe::client(DEVICE).signed_by(&key, &stranger), stranger.der.clone()],
            Code::CertificateUntrusted,
        ),
        (
            "our CA's name, another key",
            vec![Recipe::client(DEVICE).signed_by(&key, &impostor)],
            Code::CertificateBadSignature,
        ),
        (
            "the same, sent along",
            vec![Recipe::client(DEVICE).signed_by(&key, &impostor), impostor.der.clone()],
            Code::CertificateBadSignature,
        ),
        ("unknown CA and expired", vec![expired.signed_by(&key, &stranger)], Code::CertificateUntrusted),
        ("the gateway CA", vec![Recipe::client(DEVICE).signed_by(&key, &world.gateway_ca)], Code::CertificateUntrusted),
        ("a CA certificate as leaf", vec![world.factory.der.clone()], Code::CertificateWrongUsage),
    ] {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(anchors(&world).verify(&chain), Err(code), "{what}");
    }
}

/// A chain through an intermediate that has a fault, under the factory root.
#[test]
fn each_fault_of_an_intermediate_has_its_code() {
    let world = World::new();
    let root_only = Anchors { factory: vec![&world.factory_root.der], ..anchors(&world) };
    let key = Key::new(9);
    let ca = || Recipe::ca("line 2", Some(0));
    for (what, recipe, code) in [
        ("expired", ca().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
        ("not yet valid", ca().valid(NOW.0 + DAY, NOW.0 + 9 * DAY), Code::CertificateNotYetValid),
        ("no CA", ca().with(|p| p.is_ca = IsCa::NoCa), Code::CertificateWrongUsage),
        ("explicitly no CA", ca().with(|p| p.is_ca = IsCa::ExplicitNoCa), Code::CertificateWrongUsage),
        ("no keyCertSign", ca().usages(&[Usage::DigitalSignature, Usage::CrlSign]), Code::CertificateWrongUsage),
        ("no key usage", ca().usages(&[]), Code::CertificateWrongUsage),
        ("serverAuth only", ca().purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("unknown critical extension", ca().unknown_extension(Criticality::Critical), Code::CertificateProfile),
        ("serial zero", ca().serial(&[0]), Code::CertificateProfile),
        ("serial of 21 octets", ca().serial(&[0x11; 21]), Code::CertificateProfile),
        (
            "a name constraint on URIs",
            ca().with(|p| {
                p.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![],
                    excluded_subtrees: vec![GeneralSubtree::DirectoryName(Default::default())],
                });
            }),
            Code::CertificateProfile,
        ),
    ] {
        let line = Ca::under(&world.factory_root, recipe, Key::new(40));
        let leaf = Recipe::leaf(DEVICE).signed_by(&key, &line);
        assert_eq!(root_only.verify(&[&leaf, &line.der]), Err(code), "{what}");
    }
}

#[test]
fn a_device_can_sign_for_nobody_and_a_ca_of_length_zero_has_no_ca_below() {
    let world = World::new();
    let key = Key::new(9);
    let victim = Recipe::client("urn:muster:acme:dev-2");
    let device = Ca::under(&world.device_ca, Recipe::client(DEVICE), Key::new(41));
    let forged = victim.signed_by(&key, &device);
    assert_eq!(anchors(&world).verify(&[&forged, &device.der]), Err(Code::CertificateWrongUsage));

    // The constraint of an intermediate, and the constraint of the anchor itself.
    let below = Ca::under(&world.factory, Recipe::ca("below", None), Key::new(42));
    let leaf = Recipe::leaf(DEVICE).signed_by(&key, &below);
    let root_only = Anchors { factory: vec![&world.factory_root.der], ..anchors(&world) };
    assert_eq!(root_only.verify(&[&leaf, &below.der, &world.factory.der]), Err(Code::CertificateProfile));
    let line_only = Anchors { factory: vec![&world.factory.der], ..anchors(&world) };
    assert_eq!(line_only.verify(&[&leaf, &below.der]), Err(Code::CertificateProfile));
}

#[test]
fn a_chain_has_four_certificates_at_most_and_each_is_well_formed() {
    let world = World::new();
    let leaf = Recipe::leaf(DEVICE).signed_by(&Key::new(9), &world.factory);
    let ca = world.gateway_ca.der.as_slice();
    assert!(anchors(&world).verify(&[&leaf, ca, ca, ca]).is_ok());
    assert_eq!(anchors(&world).verify(&[&leaf, ca, ca, ca, ca]), Err(Code::CertificateProfile));
    assert_eq!(anchors(&world).verify(&[&leaf, b"junk"]), Err(Code::CertificateMalformed));
    assert_eq!(anchors(&world).verify(&[b""]), Err(Code::CertificateMalformed));
    let longer = [&leaf[..], &[0]].concat();
    assert_eq!(anchors(&world).verify(&[&longer]), Err(Code::CertificateMalformed));
    assert_eq!(anchors(&world).verify(&[&leaf[..leaf.len() - 1]]), Err(Code::CertificateMalformed));
}

#[test]
fn only_p256_keys_and_ecdsa_with_sha256_are_taken() {
    let world = World::new();
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let leaf = Recipe::client(DEVICE).signed_by(&other, &world.device_ca);
    assert_eq!(anchors(&world).verify(&[&leaf]), Err(Code::CertificateProfile));
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let leaf = Recipe::client(DEVICE).signed_by(&ed25519, &world.device_ca);
    assert_eq!(anchors(&world).verify(&[&leaf]), Err(Code::CertificateProfile));
    // A compressed point names the same key, but is another encoding.
    let key = Key::new(9);
    let leaf = Recipe::client(DEVICE).signed_by(&key, &world.device_ca);
    let off_curve = {
        let point = key.public().as_sec1().to_vec();
        let mut moved = point.clone();
        moved[64] ^= 1;
        forge(&leaf, &world.device_ca.key, |tbs| patch(tbs, &point, &moved))
    };
    assert_eq!(anchors(&world).verify(&[&off_curve]), Err(Code::CertificateProfile));
    // An algorithm identifier that webpki would have to know; the signature itself is right.
    let sha384 = patch_both(
        &leaf,
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
    );
    assert_eq!(anchors(&world).verify(&[&sha384]), Err(Code::CertificateProfile));
}

fn patch_both(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut patched = bytes.to_vec();
    for start in 0..bytes.len() - from.len() {
        if &bytes[start..start + from.len()] == from {
            patched[start..start + from.len()].copy_from_slice(to);
        }
    }
    patched
}
