//! Chains that a device, a service or an operator shows to the gateway, or somebody who wants to be taken for one.

use muster_protocol::Code;
use muster_protocol::pki::Role;
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose as Purpose, GeneralSubtree, IsCa, KeyUsagePurpose as Usage,
    NameConstraints,
};

use super::mutate::damaged;
use super::recipe::{Recipe, dns, uri};
use super::{Authority, CorpusKey, DAY, NOW, World};
use crate::random::Random;

/// One chain, and what the gateway has to say of it at [`NOW`].
pub struct ClientCase {
    /// What is special about it.
    pub what: String,
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its role, or its refusal; `Err(None)` for a refusal whose code depends on the byte that was changed.
    pub verdict: Result<Role, Option<Code>>,
}

/// Every case, the same in every run.
#[must_use]
pub fn client_cases(world: &World) -> Vec<ClientCase> {
    let mut all = Vec::new();
    good(world, &mut all);
    leaves(world, &mut all);
    issuers(world, &mut all);
    intermediates(world, &mut all);
    damage(world, &mut all);
    all
}

fn add(all: &mut Vec<ClientCase>, what: &str, chain: Vec<Vec<u8>>, verdict: Result<Role, Option<Code>>) {
    all.push(ClientCase { what: what.to_owned(), chain, verdict });
}

fn good(world: &World, all: &mut Vec<ClientCase>) {
    let key = key();
    let idevid = Recipe::device(DEVICE).signed_by(&key, &world.factory);
    let long = Recipe::device(DEVICE).valid(NOW.0, 253_402_300_799).signed_by(&key, &world.factory);
    let ldevid = Recipe::client(DEVICE).signed_by(&key, &world.device_ca);
    let service = Recipe::client("urn:muster:acme:service:ingest").signed_by(&key, &world.operator_ca);
    let operator = Recipe::client("urn:muster:acme:operator:ada").signed_by(&key, &world.operator_ca);
    add(all, "IDevID", vec![idevid.clone()], Ok(Role::Idevid));
    add(all, "IDevID without end", vec![long], Ok(Role::Idevid));
    add(all, "IDevID with its CA", vec![idevid, world.factory.der().to_vec()], Ok(Role::Idevid));
    add(all, "LDevID", vec![ldevid.clone()], Ok(Role::Ldevid));
    add(all, "LDevID with its CA", vec![ldevid, world.device_ca.der().to_vec()], Ok(Role::Ldevid));
    add(all, "service", vec![service], Ok(Role::Service));
    add(all, "operator", vec![operator], Ok(Role::Operator));
}

fn leaves(world: &World, all: &mut Vec<ClientCase>) {
    let client = || Recipe::client(DEVICE);
    let by_device_ca = [
        ("expired", client().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
        ("not yet valid", client().valid(NOW.0 + 1, NOW.0 + 9 * DAY), Code::CertificateNotYetValid),
        ("ends before it starts", client().valid(NOW.0 + DAY, NOW.0 - DAY), Code::CertificateProfile),
        ("no key purpose", client().purposes(&[]), Code::CertificateWrongUsage),
        ("serverAuth", client().purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("any purpose", client().purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
        ("clientAuth and any", client().purposes(&[Purpose::ClientAuth, Purpose::Any]), Code::CertificateWrongUsage),
        (
            "client and server",
            client().purposes(&[Purpose::ClientAuth, Purpose::ServerAuth]),
            Code::CertificateWrongUsage,
        ),
        (
            "server and client",
            client().purposes(&[Purpose::ServerAuth, Purpose::ClientAuth]),
            Code::CertificateWrongUsage,
        ),
        ("code signing", client().purposes(&[Purpose::CodeSigning]), Code::CertificateWrongUsage),
        ("no key usage", client().usages(&[]), Code::CertificateProfile),
        ("key agreement", client().usages(&[Usage::KeyAgreement]), Code::CertificateWrongUsage),
        ("keyCertSign", client().usages(&[Usage::DigitalSignature, Usage::KeyCertSign]), Code::CertificateWrongUsage),
        ("cRLSign", client().usages(&[Usage::DigitalSignature, Usage::CrlSign]), Code::CertificateWrongUsage),
        ("a CA", client().constraints(IsCa::Ca(BasicConstraints::Unconstrained)), Code::CertificateWrongUsage),
        ("unknown critical extension", client().unknown_critical(), Code::CertificateProfile),
        ("no SAN", client().sans(&[]), Code::CertificateNoIdentity),
        ("a DNS SAN", client().sans(&[dns("dev-1.example")]), Code::CertificateNoIdentity),
        ("a DNS SAN beside ours", client().sans(&[uri(DEVICE), dns("dev-1.example")]), Code::CertificateNoIdentity),
        ("two SANs", client().sans(&[uri(DEVICE), uri("urn:muster:acme:dev-2")]), Code::CertificateNoIdentity),
        ("the same SAN twice", client().sans(&[uri(DEVICE), uri(DEVICE)]), Code::CertificateNoIdentity),
        ("another URI", client().sans(&[uri("https://acme.example/dev-1")]), Code::CertificateNoIdentity),
        ("a wildcard id", client().sans(&[uri("urn:muster:acme:+")]), Code::CertificateNoIdentity),
        ("a slash in the id", client().sans(&[uri("urn:muster:acme:a/b")]), Code::CertificateNoIdentity),
        ("no id", client().sans(&[uri("urn:muster:acme:")]), Code::CertificateNoIdentity),
        ("a dash first", client().sans(&[uri("urn:muster:acme:-x")]), Code::CertificateNoIdentity),
        (
            "a long id",
            client().sans(&[uri(&format!("urn:muster:acme:{}", "x".repeat(65)))]),
            Code::CertificateNoIdentity,
        ),
        ("upper-case URN", client().sans(&[uri("URN:muster:acme:dev-1")]), Code::CertificateNoIdentity),
        ("another fleet", client().sans(&[uri("urn:muster:evil:dev-1")]), Code::CertificateWrongFleet),
        ("a service of the device CA", client().sans(&[uri("urn:muster:acme:service:x")]), Code::CertificateProfile),
        ("an operator of the device CA", client().sans(&[uri("urn:muster:acme:operator:x")]), Code::CertificateProfile),
        ("serial zero", client().serial(&[0]), Code::CertificateProfile),
        ("serial of 21 octets", client().serial(&[0x11; 21]), Code::CertificateProfile),
    ];
    for (what, recipe, code) in by_device_ca {
        add(all, what, vec![recipe.signed_by(&key(), &world.device_ca)], Err(Some(code)));
    }
    for (what, recipe, code) in [
        (
            "an IDevID for serverAuth",
            Recipe::device(DEVICE).purposes(&[Purpose::ServerAuth]),
            Code::CertificateWrongUsage,
        ),
        ("an IDevID for any purpose", Recipe::device(DEVICE).purposes(&[Purpose::Any]), Code::CertificateWrongUsage),
        ("an operator of the factory", Recipe::device("urn:muster:acme:operator:root"), Code::CertificateProfile),
        ("an IDevID of another fleet", Recipe::device("urn:muster:evil:dev-1"), Code::CertificateWrongFleet),
    ] {
        add(all, what, vec![recipe.signed_by(&key(), &world.factory)], Err(Some(code)));
    }
    let device = vec![Recipe::client(DEVICE).signed_by(&key(), &world.operator_ca)];
    add(all, "a device of the operator CA", device, Err(Some(Code::CertificateProfile)));
}

fn issuers(world: &World, all: &mut Vec<ClientCase>) {
    let key = key();
    let client = Recipe::client(DEVICE);
    let stranger = Authority::root(Recipe::ca("somebody", None), CorpusKey::new(500));
    let same_name = Authority::root(Recipe::ca("device CA", Some(0)), CorpusKey::new(501));
    let device = Authority::under(&world.device_ca, Recipe::client(DEVICE), CorpusKey::new(502));
    let below = Authority::under(&world.factory, Recipe::ca("below", None), CorpusKey::new(503));
    let by = |issuer: &Authority| client.signed_by(&key, issuer);
    let own = client.self_signed(&key);
    for (what, chain, code) in [
        ("signed by itself", vec![own.clone()], Code::CertificateSelfSigned),
        ("signed by itself, twice", vec![own; 2], Code::CertificateSelfSigned),
        ("by a stranger", vec![by(&stranger)], Code::CertificateUntrusted),
        ("by a stranger, sent along", vec![by(&stranger), stranger.der().to_vec()], Code::CertificateUntrusted),
        ("by another key of our CA's name", vec![by(&same_name)], Code::CertificateBadSignature),
        ("the same, sent along", vec![by(&same_name), same_name.der().to_vec()], Code::CertificateBadSignature),
        ("by the gateway CA", vec![by(&world.gateway_ca)], Code::CertificateUntrusted),
        ("by another device", vec![by(&device), device.der().to_vec()], Code::CertificateWrongUsage),
        (
            "below the factory's issuing CA",
            vec![Recipe::device(DEVICE).signed_by(&key, &below), below.der().to_vec()],
            Code::CertificateProfile,
        ),
        ("the factory's CA as leaf", vec![world.factory.der().to_vec()], Code::CertificateWrongUsage),
        ("junk", vec![b"junk".to_vec()], Code::CertificateMalformed),
        ("good, and junk", vec![by(&world.device_ca), b"junk".to_vec()], Code::CertificateMalformed),
        (
            "five certificates",
            [vec![by(&world.device_ca)], vec![world.gateway_ca.der().to_vec(); 4]].concat(),
            Code::CertificateProfile,
        ),
        ("a byte behind it", vec![[&by(&world.device_ca)[..], &[0]].concat()], Code::CertificateMalformed),
    ] {
        add(all, what, chain, Err(Some(code)));
    }
}

/// Under the factory root, whose issuing CAs may be sent along.
fn intermediates(world: &World, all: &mut Vec<ClientCase>) {
    let ca = || Recipe::ca("line 2", Some(0));
    let constraint = NameConstraints {
        permitted_subtrees: vec![],
        excluded_subtrees: vec![GeneralSubtree::DirectoryName(rcgen::DistinguishedName::default())],
    };
    let cases = [
        ("expired", ca().valid(NOW.0 - 9 * DAY, NOW.0 - 1), Code::CertificateExpired),
        ("not yet valid", ca().valid(NOW.0 + DAY, NOW.0 + 9 * DAY), Code::CertificateNotYetValid),
        ("no CA", ca().constraints(IsCa::NoCa), Code::CertificateWrongUsage),
        ("explicitly no CA", ca().constraints(IsCa::ExplicitNoCa), Code::CertificateWrongUsage),
        ("no keyCertSign", ca().usages(&[Usage::DigitalSignature]), Code::CertificateWrongUsage),
        ("serverAuth only", ca().purposes(&[Purpose::ServerAuth]), Code::CertificateWrongUsage),
        ("unknown critical extension", ca().unknown_critical(), Code::CertificateProfile),
        ("serial zero", ca().serial(&[0]), Code::CertificateProfile),
        ("name constraints", ca().with(|params| params.name_constraints = Some(constraint)), Code::CertificateProfile),
    ];
    for (number, (what, recipe, code)) in (600..).zip(cases) {
        let line = Authority::under(&world.factory_root, recipe, CorpusKey::new(number));
        let chain = vec![Recipe::device(DEVICE).signed_by(&key(), &line), line.der().to_vec()];
        add(all, &format!("an issuing CA: {what}"), chain, Err(Some(code)));
    }
}

fn damage(world: &World, all: &mut Vec<ClientCase>) {
    let mut random = Random::new(4);
    let line = Authority::under(&world.factory_root, Recipe::ca("line 2", Some(0)), CorpusKey::new(700));
    let ldevid = vec![Recipe::client(DEVICE).signed_by(&key(), &world.device_ca)];
    let idevid = vec![Recipe::device(DEVICE).signed_by(&key(), &line), line.der().to_vec()];
    for (name, chain, needed) in [("LDevID", ldevid, 1), ("IDevID", idevid, 2)] {
        for damaged in damaged(&chain, needed, 80, &mut random) {
            add(all, &format!("{name}: {}", damaged.what), damaged.chain, Err(None));
        }
    }
}

fn key() -> CorpusKey {
    CorpusKey::new(101)
}

const DEVICE: &str = "urn:muster:acme:dev-1";
