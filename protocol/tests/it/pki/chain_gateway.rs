//! The gateway's chain, as a device judges it: by a gateway CA of the bundle, a name, and what it knows of the date.

use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock, VerifiedGateway, verify_gateway};
use muster_protocol::{Code, UnixTime};
use rcgen::{ExtendedKeyUsagePurpose as Purpose, IsCa, KeyUsagePurpose as Usage, SanType};

use super::maker::{Ca, Criticality, DAY, Key, NOW, Recipe, World};

const NAMES: &[&str] = &["gw.acme.example", "192.0.2.7", "2001:db8::7"];
const CLOCK: GatewayClock = GatewayClock { floor: UnixTime(0), civil: Some(NOW) };

fn verify(chain: &[&[u8]], cas: &[&[u8]], name: &str, clock: GatewayClock) -> Result<VerifiedGateway, Code> {
    verify_gateway(chain, cas, name, clock, &[ECDSA_P256_SHA256])
}

#[test]
fn a_gateway_is_known_by_every_name_it_has_and_by_no_other() {
    let world = World::new();
    let key = Key::new(9);
    let der = Recipe::server(NAMES).signed_by(&key, &world.gateway_ca);
    for name in NAMES.iter().chain(&["GW.acme.example"]) {
        let gateway = verify(&[&der], &[&world.gateway_ca.der], name, CLOCK).unwrap();
        assert_eq!(gateway.public_key(), &key.public());
        assert_eq!(gateway.not_before(), UnixTime(NOW.0 - DAY));
        assert_eq!(gateway.not_after(), UnixTime(NOW.0 + 6 * DAY));
        assert_eq!(gateway.serial().as_bytes(), [0x5a; 16]);
    }
    for name in ["acme.example", "x.gw.acme.example", "192.0.2.8", "gateway", "", "gw.acme.example:8883", "*"] {
        let judged = verify(&[&der], &[&world.gateway_ca.der], name, CLOCK);
        assert_eq!(judged, Err(Code::CertificateWrongName), "{name}");
    }
}

#[test]
fn each_fault_of_a_gateway_has_its_code() {
    let world = World::new();
    let server = || Recipe::server(&["gw.acme.example"]);
    for (what, recipe, code) in [
        ("no purpose", server().purposes(&[]), Code::CertificateWrongUsage),
        ("clientAuth", server().purposes(&[Purpose::ClientAuth]), Code::CertificateWrongUsage),
        ("any purpose", server().purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
        ("any beside serverAuth", server().purposes(&[Purpose::ServerAuth, Purpose::Any]), Code::CertificateWrongUsage),
        ("no key usage", server().usages(&[]), Code::CertificateProfile),
        ("key encipherment only", server().usages(&[Usage::KeyEncipherment]), Code::CertificateWrongUsage),
        (
            "a CA",
            server().with(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            Code::CertificateWrongUsage,
        ),
        ("critical extension", server().unknown_extension(Criticality::Critical), Code::CertificateProfile),
        (
            "no SAN, the name in the CN",
            server().sans(&[]).with(|p| {
                p.distinguished_name.push(rcgen::DnType::CommonName, "gw.acme.example");
            }),
            Code::CertificateWrongName,
        ),
        (
            "the name as URI",
            server().sans(&[SanType::URI("gw.acme.example".try_into().unwrap())]),
            Code::CertificateWrongName,
        ),
        ("expired", server().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
    ] {
        let der = recipe.signed_by(&Key::new(9), &world.gateway_ca);
        assert_eq!(verify(&[&der], &[&world.gateway_ca.der], "gw.acme.example", CLOCK), Err(code), "{what}");
    }
}

#[test]
fn no_other_ca_and_no_device_can_be_the_gateway() {
    let world = World::new();
    let server = Recipe::server(&["gw.acme.example"]);
    let key = Key::new(9);
    let cas: &[&[u8]] = &[&world.gateway_ca.der];
    let device = Ca::under(&world.device_ca, Recipe::client("urn:muster:acme:dev-1"), Key::new(50));
    let by_gateway = Ca::under(&world.gateway_ca, Recipe::server(&["old.acme.example"]), Key::new(51));
    let sub = Ca::under(&world.gateway_ca, Recipe::ca("sub", None), Key::new(52));
    let impostor = Ca::root(Recipe::ca("gateway CA", Some(0)), Key::new(53));
    for (what, chain, code) in [
        ("device CA", vec![server.signed_by(&key, &world.device_ca)], Code::CertificateUntrusted),
        (
            "factory",
            vec![server.signed_by(&key, &world.factory), world.factory.der.clone()],
            Code::CertificateUntrusted,
        ),
        ("a device", vec![server.signed_by(&key, &device), device.der], Code::CertificateUntrusted),
        (
            "another gateway's leaf",
            vec![server.signed_by(&key, &by_gateway), by_gateway.der],
            Code::CertificateWrongUsage,
        ),
        ("a CA below pathLen 0", vec![server.signed_by(&key, &sub), sub.der], Code::CertificateProfile),
        ("a CA of the same name", vec![server.signed_by(&key, &impostor), impostor.der], Code::CertificateBadSignature),
        ("itself", vec![server.self_signed(&key)], Code::CertificateSelfSigned),
        ("nothing", vec![], Code::CertificateMissing),
    ] {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(verify(&chain, cas, "gw.acme.example", CLOCK), Err(code), "{what}");
    }
    let good = server.signed_by(&key, &world.gateway_ca);
    assert_eq!(verify(&[&good], &[], "gw.acme.example", CLOCK), Err(Code::CertificateUntrusted));
    // A damaged CA in the bundle, or one that is none, does not keep the good one from being used.
    let not_a_ca = Recipe::server(&["x.example"]).self_signed(&key);
    assert!(verify(&[&good], &[b"junk", &not_a_ca, &world.gateway_ca.der], "gw.acme.example", CLOCK).is_ok());
    assert_eq!(verify(&[&not_a_ca], &[&not_a_ca], "x.example", CLOCK), Err(Code::CertificateSelfSigned));
}

#[test]
fn without_a_clock_the_floor_decides_and_a_new_certificate_is_never_too_new() {
    let world = World::new();
    let der =
        Recipe::server(&["gw.acme.example"]).valid(NOW.0, NOW.0 + 90 * DAY).signed_by(&Key::new(9), &world.gateway_ca);
    let judge = |floor: u64, civil: Option<u64>| {
        let clock = GatewayClock { floor: UnixTime(floor), civil: civil.map(UnixTime) };
        verify(&[&der], &[&world.gateway_ca.der], "gw.acme.example", clock).map(|_| ())
    };
    assert_eq!(judge(0, None), Ok(()));
    assert_eq!(judge(NOW.0 + DAY, None), Ok(()));
    assert_eq!(judge(NOW.0 + 91 * DAY, None), Err(Code::CertificateExpired));
    assert_eq!(judge(0, Some(NOW.0 - DAY)), Ok(()), "a clock that is behind is as good as none");
    assert_eq!(judge(NOW.0 + DAY, Some(0)), Ok(()));
    assert_eq!(judge(0, Some(NOW.0 + 91 * DAY)), Err(Code::CertificateExpired));
    assert_eq!(judge(NOW.0 + 91 * DAY, Some(NOW.0)), Err(Code::CertificateExpired));
}

#[test]
fn the_floor_follows_the_newest_certificate_of_the_path_only() {
    let world = World::new();
    let root = Ca::root(Recipe::ca("gateway root", None), Key::new(60));
    let issuing =
        Ca::under(&root, Recipe::ca("gateway issuing", Some(0)).valid(NOW.0 - 100, NOW.0 + DAY), Key::new(61));
    let leaf = Recipe::server(&["gw.acme.example"]).valid(NOW.0 - 500, NOW.0 + DAY).signed_by(&Key::new(9), &issuing);
    let unrelated = Recipe::ca("unrelated", None).valid(NOW.0 + 9 * DAY, NOW.0 + 99 * DAY).self_signed(&Key::new(62));
    let gateway = verify(&[&leaf, &issuing.der, &unrelated], &[&root.der], "gw.acme.example", CLOCK).unwrap();
    assert_eq!(gateway.not_before(), UnixTime(NOW.0 - 100));
    let _ = world;
}
