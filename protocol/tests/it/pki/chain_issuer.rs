//! Certificates that a device was issued, trust anchors, and the CAs that may sign manifests.

use muster_protocol::pki::{TrustAnchor, verify_issued, verify_issuing_ca};
use muster_protocol::{Code, UnixTime};
use rcgen::{ExtendedKeyUsagePurpose as Purpose, IsCa, KeyUsagePurpose as Usage, SanType};

use super::maker::{Ca, Criticality, DAY, Key, NOW, Recipe, World, device};

const DEVICE: &str = "urn:muster:acme:dev-1";

#[test]
fn a_device_takes_the_certificate_that_it_asked_for() {
    let world = World::new();
    let key = Key::new(9);
    let der = Recipe::client(DEVICE).signed_by(&key, &world.device_ca);
    let issued = verify_issued(&der, &device(), &key.public()).unwrap();
    assert_eq!(issued.serial().as_bytes(), [0x5a; 16]);
    assert_eq!(issued.public_key(), &key.public());
    assert_eq!(issued.fingerprint(), key.public().fingerprint());
    assert_eq!((issued.not_before(), issued.not_after()), (UnixTime(NOW.0 - DAY), UnixTime(NOW.0 + 6 * DAY)));
}

#[test]
fn a_device_takes_nothing_else() {
    let world = World::new();
    let key = Key::new(9);
    let client = || Recipe::client(DEVICE);
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    for (what, recipe, code) in [
        ("another device's name", client().sans(&[uri("urn:muster:acme:dev-2")]), Code::CertificateWrongName),
        ("a service of its name", client().sans(&[uri("urn:muster:acme:service:dev-1")]), Code::CertificateWrongName),
        ("another fleet", client().sans(&[uri("urn:muster:evil:dev-1")]), Code::CertificateWrongFleet),
        ("no name", client().sans(&[]), Code::CertificateNoIdentity),
        ("two names", client().sans(&[uri(DEVICE), uri("urn:muster:acme:dev-2")]), Code::CertificateNoIdentity),
        ("no purpose", client().purposes(&[]), Code::CertificateWrongUsage),
        ("server purpose", client().purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("both purposes", client().purposes(&[Purpose::ClientAuth, Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("no key usage", client().usages(&[]), Code::CertificateProfile),
        ("keyCertSign", client().usages(&[Usage::DigitalSignature, Usage::KeyCertSign]), Code::CertificateWrongUsage),
        (
            "a CA",
            client().with(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            Code::CertificateWrongUsage,
        ),
        ("critical extension", client().unknown_extension(Criticality::Critical), Code::CertificateProfile),
        ("ends before it starts", client().valid(NOW.0, NOW.0 - 1), Code::CertificateProfile),
        ("no length of life", client().valid(NOW.0, NOW.0), Code::CertificateProfile),
        ("serial zero", client().serial(&[0]), Code::CertificateProfile),
        (
            "too long for the store",
            client().with(|p| {
                p.distinguished_name.push(rcgen::DnType::OrganizationName, "x".repeat(900).as_str());
            }),
            Code::CertificateProfile,
        ),
    ] {
        let der = recipe.signed_by(&key, &world.device_ca);
        assert_eq!(verify_issued(&der, &device(), &key.public()), Err(code), "{what}");
    }
    let for_another_key = client().signed_by(&Key::new(10), &world.device_ca);
    assert_eq!(verify_issued(&for_another_key, &device(), &key.public()), Err(Code::CertificateProfile));
    assert_eq!(verify_issued(b"", &device(), &key.public()), Err(Code::CertificateMalformed));
}

#[test]
fn only_a_ca_that_may_sign_is_an_anchor() {
    let world = World::new();
    let ca = || Recipe::ca("x", Some(3));
    let key = Key::new(9);
    let der = ca().self_signed(&key);
    let anchor = TrustAnchor::from_der(&der).unwrap();
    assert_eq!((anchor.public_key(), anchor.path_len()), (&key.public(), Some(3)));
    assert_eq!(TrustAnchor::from_der(&world.factory.der).unwrap().path_len(), Some(0));
    for (what, recipe, code) in [
        ("no CA", ca().with(|p| p.is_ca = IsCa::NoCa), Code::CertificateWrongUsage),
        ("no keyCertSign", ca().usages(&[Usage::DigitalSignature]), Code::CertificateWrongUsage),
        ("no key usage", ca().usages(&[]), Code::CertificateWrongUsage),
        ("critical extension", ca().unknown_extension(Criticality::Critical), Code::CertificateProfile),
        ("serial zero", ca().serial(&[0]), Code::CertificateProfile),
        ("a leaf", Recipe::client(DEVICE), Code::CertificateWrongUsage),
    ] {
        let der = recipe.self_signed(&key);
        assert_eq!(TrustAnchor::from_der(&der).err(), Some(code), "{what}");
    }
    assert_eq!(TrustAnchor::from_der(b"junk").err(), Some(Code::CertificateMalformed));
}

#[test]
fn a_registered_factory_and_its_lines_sign_manifests() {
    let world = World::new();
    let root = TrustAnchor::from_der(&world.factory_root.der).unwrap();
    let line = TrustAnchor::from_der(&world.factory.der).unwrap();
    for anchors in [std::slice::from_ref(&root), std::slice::from_ref(&line), &[root.clone(), line.clone()]] {
        let issuer = verify_issuing_ca(&world.factory.der, anchors, NOW).unwrap();
        assert_eq!(issuer.public_key(), &world.factory.key.public());
        assert_eq!(issuer.fingerprint(), world.factory.key.public().fingerprint());
    }
    // An anchor is its key: its dates are not asked.
    assert!(verify_issuing_ca(&world.factory.der, &[line], UnixTime(NOW.0 + 9000 * DAY)).is_ok());
}

#[test]
fn nobody_else_signs_manifests() {
    let world = World::new();
    let root = [TrustAnchor::from_der(&world.factory_root.der).unwrap()];
    let line = || Recipe::ca("line 2", Some(0));
    let impostor = Ca::root(Recipe::ca("factory root", None), Key::new(70));
    let under = |recipe: Recipe| Ca::under(&world.factory_root, recipe, Key::new(71)).der;
    for (what, der, code) in [
        ("another self-signed CA", world.device_ca.der.clone(), Code::CertificateSelfSigned),
        ("under an unknown CA", Ca::under(&world.device_ca, line(), Key::new(72)).der, Code::CertificateUntrusted),
        ("under a CA of the same name", Ca::under(&impostor, line(), Key::new(73)).der, Code::CertificateBadSignature),
        ("a root of the same name", impostor.der.clone(), Code::CertificateBadSignature),
        ("two levels down", Ca::under(&world.factory, line(), Key::new(74)).der, Code::CertificateUntrusted),
        ("expired", under(line().valid(NOW.0 - 9 * DAY, NOW.0 - 1)), Code::CertificateExpired),
        ("not yet valid", under(line().valid(NOW.0 + 1, NOW.0 + 9)), Code::CertificateNotYetValid),
        ("a device", under(Recipe::leaf(DEVICE)), Code::CertificateWrongUsage),
        ("no keyCertSign", under(line().usages(&[Usage::DigitalSignature])), Code::CertificateWrongUsage),
        ("no digitalSignature", under(line().usages(&[Usage::KeyCertSign])), Code::CertificateWrongUsage),
        ("critical extension", under(line().unknown_extension(Criticality::Critical)), Code::CertificateProfile),
        ("junk", b"junk".to_vec(), Code::CertificateMalformed),
    ] {
        assert_eq!(verify_issuing_ca(&der, &root, NOW).err(), Some(code), "{what}");
    }
    // pathLen 0 of the anchor leaves no room for a CA below it.
    let short = [TrustAnchor::from_der(&world.factory.der).unwrap()];
    let below = Ca::under(&world.factory, line(), Key::new(75)).der;
    assert_eq!(verify_issuing_ca(&below, &short, NOW), Err(Code::CertificateProfile));
    assert_eq!(verify_issuing_ca(&world.factory.der, &[], NOW), Err(Code::CertificateUntrusted));
}
