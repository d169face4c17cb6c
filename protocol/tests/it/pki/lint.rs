//! The profile lint: good certificates pass, and each rule finds its fault.

use muster_protocol::UnixTime;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::lint::lint_issued_by;
use muster_protocol::pki::{Profile, lint};
use rcgen::{
    CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    KeyUsagePurpose as Usage, SanType,
};

use super::maker::{Ca, Criticality, DAY, Key, NOW, Recipe, World};

const DEVICE: &str = "urn:muster:acme:dev-1";

fn rules(der: &[u8], profile: Profile) -> Vec<&'static str> {
    let certificate = Certificate::parse(der).unwrap();
    lint(&certificate, profile).iter().map(|finding| finding.rule).collect()
}

#[test]
fn good_certificates_have_no_findings() {
    let world = World::new();
    let key = Key::new(9);
    let plain = |name| Recipe::ca(name, Some(0)).usages(&[Usage::KeyCertSign, Usage::CrlSign]);
    let forever = UnixTime::FOREVER.0;
    let named = |uri: &str, name: &str| {
        Recipe::client(uri).with(|params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
        })
    };
    let root = Recipe::ca("root", None).usages(&[Usage::KeyCertSign, Usage::CrlSign]).valid(NOW.0, forever);
    let line =
        Ca::under(&Ca::root(root.clone(), Key::new(1)), Recipe::ca("line", Some(0)).valid(NOW.0, forever), Key::new(2));
    for (profile, der) in [
        (Profile::FactoryRoot, root.self_signed(&key)),
        (Profile::FactoryIssuing, line.der.clone()),
        (Profile::Idevid, Recipe::leaf(DEVICE).valid(NOW.0, forever).signed_by(&key, &line)),
        (Profile::DeviceCa, plain("device CA").self_signed(&key)),
        (Profile::Ldevid, Recipe::client(DEVICE).signed_by(&key, &world.device_ca)),
        (Profile::GatewayCa, plain("gateway CA").self_signed(&key)),
        (Profile::GatewayServer, Recipe::server(&["gw.example", "192.0.2.1"]).signed_by(&key, &world.gateway_ca)),
        (Profile::OperatorCa, plain("operator CA").self_signed(&key)),
        (Profile::Service, named("urn:muster:acme:service:ingest", "ingest").signed_by(&key, &world.operator_ca)),
        (Profile::Operator, named("urn:muster:acme:operator:ada", "ada").signed_by(&key, &world.operator_ca)),
    ] {
        assert_eq!(rules(&der, profile), [""; 0], "{profile:?}");
        // No certificate passes for a kind that it is not, except CAs of the same shape.
        for other in Profile::ALL {
            let alike = profile == other
                || (profile.is_self_signed() && other.is_self_signed() && profile.path_len() == other.path_len());
            assert_eq!(rules(&der, other).is_empty(), alike, "{profile:?} as {other:?}");
        }
    }
}

#[test]
fn each_rule_finds_its_fault() {
    let world = World::new();
    let key = Key::new(9);
    let ldevid = || Recipe::client(DEVICE);
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    for (rule, recipe) in [
        ("serial-length", ldevid().serial(&[7])),
        ("subject-serial-number", ldevid().with(|p| p.distinguished_name = DistinguishedName::new())),
        ("subject-serial-number", ldevid().sans(&[uri("urn:muster:acme:dev-2")])),
        ("validity-bounded", ldevid().valid(NOW.0, NOW.0 + 400 * DAY)),
        ("validity-bounded", ldevid().valid(NOW.0, UnixTime::FOREVER.0)),
        ("validity-order", ldevid().valid(NOW.0, NOW.0)),
        ("key-usage", ldevid().usages(&[Usage::DigitalSignature, Usage::KeyAgreement])),
        ("key-usage-critical", ldevid().usages(&[])),
        ("basic-constraints", ldevid().with(|p| p.is_ca = IsCa::ExplicitNoCa)),
        ("extended-key-usage", ldevid().purposes(&[])),
        ("extended-key-usage", ldevid().purposes(&[Purpose::ClientAuth, Purpose::ServerAuth])),
        ("one-identity", ldevid().sans(&[uri("urn:muster:acme:service:dev-1")])),
        ("one-identity", ldevid().sans(&[])),
        (
            "san-criticality",
            ldevid().with(|p| {
                let mut san = rcgen::CustomExtension::from_oid_content(
                    &[2, 5, 29, 17],
                    [&[0x30, 23, 0x86, 21][..], DEVICE.as_bytes()].concat(),
                );
                san.set_criticality(true);
                p.subject_alt_names.clear();
                p.custom_extensions = vec![san];
            }),
        ),
        ("authority-key-identifier", ldevid().with(|p| p.use_authority_key_identifier_extension = false)),
        ("subject-key-identifier", ldevid().with(|p| p.is_ca = IsCa::ExplicitNoCa)),
        (
            "no-revocation-pointers",
            ldevid().with(|p| {
                p.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://x.example/c".into()] }];
            }),
        ),
        ("no-other-extension", ldevid().unknown_extension(Criticality::Ordinary)),
        ("size", ldevid().with(|p| p.distinguished_name.push(DnType::OrganizationName, "x".repeat(900).as_str()))),
    ] {
        let der = recipe.signed_by(&key, &world.device_ca);
        assert!(rules(&der, Profile::Ldevid).contains(&rule), "{rule}: {:?}", rules(&der, Profile::Ldevid));
    }
    let idevid = Recipe::leaf(DEVICE).signed_by(&key, &world.factory);
    assert_eq!(rules(&idevid, Profile::Idevid), ["validity-without-end"]);
    for names in [&["*.example"][..], &[]] {
        let server = Recipe::server(names).signed_by(&key, &world.gateway_ca);
        assert!(rules(&server, Profile::GatewayServer).contains(&"server-names"), "{names:?}");
    }
    let domain = Recipe::server(&["gw.example"])
        .with(|p| p.distinguished_name.push(DnType::CommonName, "gw.example"))
        .signed_by(&key, &world.gateway_ca);
    assert_eq!(rules(&domain, Profile::GatewayServer), ["subject-common-name"]);
    let company = Recipe::ca("Acme Inc. devices", Some(0)).usages(&[Usage::KeyCertSign, Usage::CrlSign]);
    assert_eq!(rules(&company.self_signed(&key), Profile::DeviceCa), [""; 0]);
    let own = ldevid().self_signed(&key);
    assert!(rules(&own, Profile::Ldevid).contains(&"self-issued"));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(rules(&ldevid().signed_by(&p384, &world.device_ca), Profile::Ldevid), ["public-key"]);
    let ca_with_name =
        Recipe::ca("x", Some(0)).usages(&[Usage::KeyCertSign, Usage::CrlSign]).sans(&[uri(DEVICE)]).self_signed(&key);
    assert_eq!(rules(&ca_with_name, Profile::DeviceCa), ["no-san-in-ca"]);
}

#[test]
fn a_certificate_is_held_against_its_issuer() {
    let world = World::new();
    let key = Key::new(9);
    let ca = Certificate::parse(&world.device_ca.der).unwrap();
    let findings = |der: &[u8]| -> Vec<&'static str> {
        lint_issued_by(&Certificate::parse(der).unwrap(), &ca).iter().map(|finding| finding.rule).collect()
    };
    assert_eq!(findings(&Recipe::client(DEVICE).signed_by(&key, &world.device_ca)), [""; 0]);
    assert_eq!(findings(&world.device_ca.der), [""; 0]);
    let longer = Recipe::client(DEVICE).valid(NOW.0, NOW.0 + 9000 * DAY).signed_by(&key, &world.device_ca);
    assert_eq!(findings(&longer), ["validity-within-issuer"]);
    let foreign = Recipe::client(DEVICE).signed_by(&key, &world.operator_ca);
    assert_eq!(findings(&foreign), ["issuer-name", "issuer-signature", "aki-is-issuers-ski"]);
}
