//! The fuzz targets of `protocol/fuzz`, for a bounded time: mutations of golden bytes and of good certificates, the same
//! ones in every run.

#[path = "../../fuzz/src/drive.rs"]
mod drive;
#[allow(unreachable_pub)] // A crate of its own for libFuzzer.
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use muster_protocol::pki::CsrDraft;

use crate::pki::maker::{Key, Recipe, World, device};

/// Mutations of each target's seeds: about a second for all of them.
const ROUNDS: u32 = 4_000;

#[test]
fn no_parser_panics_on_bytes_that_nobody_made() {
    for (name, target) in targets::TARGETS {
        drive::drive(*target, &seeds(name), ROUNDS);
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "certificate" => {
            let world = World::new();
            let leaf = Recipe::client("urn:muster:acme:dev-1").signed_by(&Key::new(9), &world.device_ca);
            let server = Recipe::server(&["gw.example", "192.0.2.1"]).signed_by(&Key::new(9), &world.gateway_ca);
            vec![leaf, server, world.factory_root.der, world.factory.der]
        }
        "csr" => {
            let draft = CsrDraft::new(&device(), &Key::new(9).public());
            let signature = Key::new(9).sign_bytes(draft.to_be_signed());
            vec![draft.finish(&signature).to_vec()]
        }
        "application" => vectors(include_str!("../vectors/application.hex")),
        "factory" => vectors(include_str!("../vectors/factory.hex")),
        "message" => vectors(include_str!("../vectors/message.hex")),
        "slot" | "life" => vectors(include_str!("../vectors/record.hex")),
        "bundle" | "manifest" => vectors(include_str!("../vectors/document.hex")),
        "name" => texts(&["dev-1", "acme", "urn:muster:acme:dev-1", "urn:muster:acme:operator:ada"]),
        "topic" => texts(&["$muster/dev-1/enrol/up", "$muster/dev-1/control/down", "devices/dev-1/telemetry"]),
        other => panic!("no seeds for {other}"),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn vectors(text: &str) -> Vec<Vec<u8>> {
    let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| crate::vectors::bytes(text, name)).collect()
}
