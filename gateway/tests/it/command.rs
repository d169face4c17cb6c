//! The command line over a stopped gateway's directory: every verb, its exit codes, its files, and what never leaves.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use muster_gateway::command::CommandLine;
use muster_gateway::directory::Directory;
use muster_terminal::command::run_with;
use muster_terminal::{Exit, Format, Output};
use serde_json::Value;

use crate::world::{Factory, fleet};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A directory that `init` has made, and files beside it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.secret("password", "correct horse");
        let line = format!("init --dir DIR --name localhost --fleet acme --password-file {}", place.path("password"));
        assert_eq!(place.run(&line).0, Exit::Done);
        place
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.folder.path().join(name), bytes).unwrap();
        self.path(name)
    }

    /// Runs a command line; `DIR` and `OUT` stand for paths here.
    fn run(&self, line: &str) -> (Exit, String, String) {
        let (out, err) = (Captured::default(), Captured::default());
        let format = if line.contains("--json") { Format::Json } else { Format::Text };
        let words = line.split_whitespace().map(|word| match word {
            "DIR" => self.path("gateway"),
            "OUT" => self.path("out"),
            word => word.to_owned(),
        });
        let arguments = std::iter::once("muster-gateway".to_owned()).chain(words).map(OsString::from).collect();
        let output = Output::to(format, Box::new(out.clone()), Box::new(err.clone()));
        let exit = run_with(arguments, output, |line: CommandLine, output| line.act(output));
        (exit, out.text(), err.text())
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        let (exit, out, err) = self.run(&format!("{line} --dir DIR --json"));
        assert_eq!(exit, Exit::Done, "{line}: {err}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["v"], 1, "{line}");
        answer
    }

    /// The exit code and the code of the error.
    fn refused(&self, line: &str) -> (Exit, String) {
        let (exit, out, err) = self.run(&format!("{line} --dir DIR --json"));
        assert_eq!(out, "", "{line}");
        let error: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
        (exit, error["code"].as_str().unwrap().to_owned())
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_fleet_is_set_up_and_operated_while_the_gateway_is_stopped() {
    let place = Place::new();
    let factory = Factory::new();
    let devices = [factory.device("pump-1"), factory.device("pump-2")];
    let manifest = place.file("manifest.muster", &factory.manifest(&[&devices[0], &devices[1]]));
    let root = muster_issuing::pem::write_certificates(&[factory.root.certificate()]);
    let root = place.file("factory.crt", root.as_bytes());

    assert_eq!(place.refused(&format!("manifest import {manifest}")), (Exit::Refused, "manifest.untrusted".into()));
    assert_eq!(place.json(&format!("factory-ca add {root}"))["items"][0]["added"], "now");
    assert_eq!(place.json("factory-ca list")["items"][0]["subject"], "Factory root");
    assert_eq!(place.json(&format!("manifest import {manifest}"))["added"], 2);
    assert_eq!(place.json(&format!("manifest import {manifest}"))["imported"], "before");
    assert_eq!(place.json("manifest list")["items"][0]["devices"], 2);

    let page = place.json("device list --limit 1");
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&"pump-1".into(), &"pump-1".into()));
    assert_eq!(place.json("device list --after pump-1")["items"][0]["id"], "pump-2");
    assert_eq!(place.json("device suspend pump-1 --reason key-compromise")["standing"], "suspended");
    assert_eq!(place.json("device show pump-1")["reason"], "key_compromise");
    assert_eq!(place.json("device resume pump-1")["standing"], "expected");
    assert_eq!(place.refused("device rotate pump-1"), (Exit::Refused, "device.state".into()));
    assert_eq!(place.refused("device revoke pump-1 --reason unspecified").0, Exit::Usage, "without --yes");
    assert_eq!(place.json("device revoke pump-1 --reason unspecified --yes")["standing"], "revoked");
    assert_eq!(place.refused("device retire pump-2").0, Exit::Usage, "without --yes");
    assert_eq!(place.json("device retire pump-2 --yes")["standing"], "retired");
    assert_eq!(place.refused("device resume pump-2"), (Exit::Refused, "device.retired".into()));
    assert_eq!(place.refused("device show nobody"), (Exit::NotFound, "device.unknown".into()));

    let status = place.json("status");
    assert_eq!((&status["devices"]["revoked"], &status["fleet"]), (&1.into(), &fleet().as_str().into()));
    assert_eq!(status["running_since"], Value::Null);
    let records = place.json("audit tail --limit 100 --device pump-2")["items"].as_array().unwrap().clone();
    assert_eq!(records.last().unwrap()["code"], "device.retired");
    let kinds = place.json("audit tail --limit 100 --kind device.retired,manifest --kind factory_ca");
    let kinds: Vec<_> = kinds["items"].as_array().unwrap().iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds, ["manifest.refused", "factory_ca.added", "manifest.imported", "device.retired"]);
    let intervals = place.json("device expiry")["intervals"].as_array().unwrap().clone();
    assert_eq!((&intervals[0]["within"], &intervals[0]["devices"]), (&"expired".into(), &0.into()));
    assert!(place.json("audit verify")["records"].as_u64().unwrap() > 8);
    assert_eq!(place.refused("audit tail --follow"), (Exit::Refused, "gateway.stopped".into()));
    assert_eq!(place.json(&format!("factory-ca remove {root}"))["removed"].as_array().unwrap().len(), 1);
    assert_eq!(place.refused(&format!("factory-ca remove {root}")), (Exit::NotFound, "factory_ca.unknown".into()));
}

#[test]
fn keys_are_made_here_and_stay_in_their_files() {
    let place = Place::new();
    let issue = "service issue ingest --publish devices/+/commands/# --subscribe devices/# --out OUT";
    let issued = place.json(issue);
    assert_eq!(issued["name"], "ingest");
    assert_eq!(place.json("service list")["items"][0]["subscribe"][0], "devices/#");
    assert_eq!(place.refused(issue), (Exit::Refused, "file.exists".into()));
    let reaching = "service issue greedy --subscribe $muster/# --out OUT";
    assert_eq!(place.refused(reaching), (Exit::Usage, "service.filter".into()));
    assert!(!Path::new(&place.path("out/greedy.key")).exists(), "a key without a certificate is taken away again");

    let password = place.secret("p12", "horse correct").display().to_string();
    let issue = format!("operator issue ada --role admin --out OUT --pkcs12-password-file {password}");
    assert_eq!(place.json(&issue)["role"], "admin");
    assert_eq!(place.json("operator list")["items"][0]["name"], "ada");
    for (name, expected) in
        [("ingest.key", 0o600), ("ada.key", 0o600), ("ada.p12", 0o600), ("ada.crt", 0o644), ("gateway-ca.crt", 0o644)]
    {
        assert_eq!(mode(place.path(&format!("out/{name}"))), expected, "{name}");
    }
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = format!("operator issue bob --role viewer --out OUT --pkcs12-password-file {password}");
    assert_eq!(place.refused(&exposed), (Exit::Refused, "password.exposed".into()));
    assert_eq!(place.refused("operator issue eve --role root --out OUT").0, Exit::Usage);

    // The secret part of each key is in its file and nowhere in the gateway's directory.
    for name in ["ingest.key", "ada.key"] {
        let key = muster_issuing::KeyPair::from_pem(&fs::read_to_string(place.path(&format!("out/{name}"))).unwrap());
        let der = key.unwrap().to_der().unwrap();
        // PKCS#8 of P-256: the scalar follows the octet string's header 04 20.
        let start = der.windows(2).position(|pair| pair == [0x04, 0x20]).unwrap() + 2;
        let scalar = &der[start..start + 32];
        for entry in fs::read_dir(place.path("gateway")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let found = fs::read(&path).unwrap().windows(32).any(|bytes| bytes == scalar);
                assert!(!found, "{name} in {}", path.display());
            }
        }
    }
    assert_eq!(place.json("service remove ingest --yes")["removed"][0], "ingest");
    assert_eq!(place.refused("service remove ingest --yes"), (Exit::NotFound, "service.unknown".into()));
    assert_eq!(place.json("operator remove ada --yes")["removed"][0], "ada");
    assert_eq!(place.refused("operator remove ada --yes"), (Exit::NotFound, "operator.unknown".into()));
}

#[test]
fn people_get_tables_and_sentences() {
    let place = Place::new();
    let factory = Factory::new();
    let root = muster_issuing::pem::write_certificates(&[factory.root.certificate()]);
    let root = place.file("factory.crt", root.as_bytes());
    let device = factory.device("pump-1");
    let manifest = place.file("manifest.muster", &factory.manifest(&[&device]));
    let say = |line: &str| {
        let (exit, out, err) = place.run(&format!("{line} --dir DIR"));
        assert_eq!(exit, Exit::Done, "{line}: {err}");
        out
    };
    assert!(say(&format!("factory-ca add {root}")).starts_with("added Factory root ("));
    assert_eq!(say(&format!("manifest import {manifest}")), "1 devices of Pump imported\n");
    assert!(say("device list").starts_with("DEVICE  STANDING  ONLINE"));
    assert_eq!(say("device suspend pump-1"), "pump-1: suspended\n");
    assert_eq!(say("device resume pump-1"), "pump-1: resumed; it is expected\n");
    assert!(say("device show pump-1").contains("device.suspended"));
    assert!(say("status").contains("fleet acme: stopped"));
    assert!(say("device expiry").starts_with("WITHIN         DEVICES\nexpired              0\n1 day "));
    assert!(say("audit tail").contains("manifest.imported"));
    assert!(say("audit verify").contains("records hold"));
}

#[test]
fn wrong_usage_is_two_and_a_gateway_that_is_not_there_is_no_success() {
    let place = Place::new();
    for line in [
        "device",
        "device list --junk",
        "device show",
        "device show a/b",
        "device revoke pump-1 --yes",
        "device revoke pump-1 --reason boredom --yes",
        "device list --standing asleep",
        "device list --limit 0",
        "manifest import",
        "factory-ca add",
        "service issue",
        "service issue x",
        "operator issue ada --out OUT",
        "audit",
        "audit tail --limit many",
        "audit tail --kind handshakes",
        "device expiry pump-1",
        "status --junk",
    ] {
        assert_eq!(place.run(&format!("{line} --dir DIR")).0, Exit::Usage, "{line}");
    }
    let gone = place.path("nowhere");
    for line in ["status", "device list", "audit verify", "manifest list", "device rotate pump-1"] {
        let (exit, out, err) = place.run(&format!("{line} --dir {gone} --json"));
        assert_eq!((exit, out.as_str()), (Exit::Failed, ""), "{line}: {err}");
        let error: Value = serde_json::from_str(&err).unwrap();
        assert_eq!(error["code"], "directory.not_set_up", "{line}");
    }
    assert_eq!(place.refused("manifest import nowhere.muster"), (Exit::NotFound, "file.missing".into()));
    // Another program has the directory, and nobody listens at its socket.
    let _lock = Directory::at(place.path("gateway")).lock().unwrap();
    assert_eq!(place.refused("status"), (Exit::Failed, "directory.locked".into()));
}
