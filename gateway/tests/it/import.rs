//! A manifest that is imported while the power goes.

use std::process::{Command, Stdio};

use muster_gateway::store::{DATABASE_FILE, DocumentId};
use muster_protocol::manifest::Entry;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use rusqlite::{Connection, OpenFlags};

use crate::command::Place;
use crate::world::{Factory, fleet, id};

const DEVICES: u32 = 20_000;

#[test]
fn an_import_that_is_killed_leaves_nothing_and_repeated_gives_all() {
    let place = Place::new();
    let factory = Factory::new();
    let root = muster_issuing::pem::write_certificates(&[factory.root.certificate()]);
    let root = place.file("factory.crt", root.as_bytes());
    place.json(&format!("factory-ca add {root}"));
    let entry = |n: u32| {
        let key = KeyFingerprint(DocumentId::of(&n.to_be_bytes()).0);
        Entry { device: id(&format!("d{n:06}")), key, serial: Serial::new(&[1]).unwrap() }
    };
    let manifest = factory.sealed(&fleet(), &(0..DEVICES).map(entry).collect::<Vec<_>>());
    let manifest = place.file("manifest.muster", &manifest);

    let directory = place.path("gateway");
    let mut importing = Command::new(env!("CARGO_BIN_EXE_muster-gateway"))
        .args(["manifest", "import", &manifest, "--dir", &directory])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let database = std::path::Path::new(&directory).join(DATABASE_FILE);
    let staged = || {
        let reader = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        reader.query_row("SELECT devices FROM imports", [], |row| row.get::<_, u32>(0)).ok()
    };
    while staged().is_none_or(|devices| devices == 0) {
        assert!(importing.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    importing.kill().unwrap();
    assert!(!importing.wait().unwrap().success());

    assert_eq!(place.json("status")["devices_total"], 0);
    assert_eq!(place.json("manifest list")["items"].as_array().unwrap().len(), 0);
    assert_eq!(place.json("device list")["items"].as_array().unwrap().len(), 0);
    let imported = place.json(&format!("manifest import {manifest}"));
    assert_eq!((&imported["imported"], &imported["added"]), (&"now".into(), &DEVICES.into()));
    assert_eq!(place.json("status")["devices"]["expected"], DEVICES);
    assert_eq!(place.json(&format!("manifest import {manifest}"))["imported"], "before");
    assert!(place.json("audit verify")["records"].as_u64().unwrap() > 1);
}
