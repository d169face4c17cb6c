//! What `init` leaves behind: the settings are the defaults, permissions are tight, and a set-up that was killed can be
//! finished.

use std::os::unix::fs::PermissionsExt;

use muster_gateway::config::{Config, DEFAULT_TEXT};
use muster_gateway::directory::{Authority, Directory};
use muster_gateway::init::{InitError, Plan, init};
use muster_protocol::trust::read_fleet_file;
use muster_terminal::{Failure, Password};

use crate::edge::{now, password, plan, set_up};
use crate::world::fleet;

#[tokio::test]
async fn the_settings_that_init_writes_are_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let directory = set_up(folder.path()).await;
    assert_eq!(std::fs::read_to_string(directory.config()).unwrap(), DEFAULT_TEXT);
    assert_eq!(Config::load(&directory).unwrap(), Config::default());
}

#[tokio::test]
async fn nobody_else_reads_keys_and_the_offline_ones_are_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = set_up(folder.path()).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for key in Authority::ALL.map(|authority| directory.ca_key(authority)).iter().chain([&directory.server_key()]) {
        assert_eq!(mode(key), 0o600, "{}", key.display());
    }
    for key in [directory.fleet_root_key(), directory.fleet_backup_key()] {
        assert_eq!(mode(&key), 0o600);
        assert!(std::fs::read_to_string(key).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    }
    assert_eq!(mode(&directory.database()), 0o600);
    let bytes = std::fs::read(directory.fleet()).unwrap();
    let verified = read_fleet_file(&bytes).unwrap();
    assert_eq!((&verified.bundle().fleet, verified.bundle().number), (&fleet(), 1));
    assert_ne!(verified.pins().root, verified.pins().backup);
}

#[tokio::test]
async fn what_is_set_up_is_not_touched_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = set_up(folder.path()).await;
    let before = std::fs::read(directory.fleet()).unwrap();
    let error = init(&plan(folder.path()), &password(), now()).await.unwrap_err();
    assert!(matches!(error, InitError::Done(_)));
    assert_eq!(Failure::from(error).exit, muster_terminal::Exit::Refused);
    assert_eq!(std::fs::read(directory.fleet()).unwrap(), before);
}

/// Whatever was written before the process died is kept, and the rest is made.
#[tokio::test]
async fn a_set_up_that_was_killed_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let whole = set_up(&folder.path().join("whole")).await;
    let names = |directory: &Directory| {
        let mut names = Vec::new();
        for folder in ["", "ca", "offline"] {
            for entry in std::fs::read_dir(directory.root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(directory.root()).unwrap().display().to_string();
                // The database engine's own, there or not as it likes.
                if !name.ends_with("-wal") && !name.ends_with("-shm") {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    };
    // In the order in which they are written; the settings are last.
    let written = [
        whole.ca_key(Authority::Gateway),
        whole.ca_certificate(Authority::Gateway),
        whole.ca_key(Authority::Device),
        whole.ca_certificate(Authority::Device),
        whole.ca_key(Authority::Operator),
        whole.ca_certificate(Authority::Operator),
        whole.fleet_root_key(),
        whole.fleet_backup_key(),
        whole.fleet(),
        whole.server_key(),
        whole.server_certificate(),
        whole.database(),
    ];
    for count in 0..=written.len() {
        let half = Directory::create(folder.path().join(format!("half-{count}"))).unwrap();
        for path in &written[..count] {
            std::fs::copy(path, half.root().join(path.strip_prefix(whole.root()).unwrap())).unwrap();
        }
        init(&plan(half.root()), &password(), now()).await.unwrap_or_else(|error| panic!("{count}: {error}"));
        assert_eq!(names(&half), names(&whole), "{count}");
        for path in &written[..count.min(9)] {
            let same = half.root().join(path.strip_prefix(whole.root()).unwrap());
            assert_eq!(std::fs::read(path).unwrap(), std::fs::read(same).unwrap(), "{}", path.display());
        }
        muster_gateway::server_certificate::load_or_issue(&half, 3600, now()).unwrap();
    }
}

#[tokio::test]
async fn a_half_set_up_for_something_else_is_refused_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let directory = set_up(folder.path()).await;
    std::fs::remove_file(directory.config()).unwrap();
    let other = Plan { names: vec!["gateway.example".to_owned()], ..plan(folder.path()) };
    let error = Failure::from(init(&other, &password(), now()).await.unwrap_err());
    assert_eq!(error.code, "directory.other_plan");
    assert!(error.hint.unwrap().contains("--name"));
    let wrong = Password::new(b"another".to_vec().into());
    let error = Failure::from(init(&plan(folder.path()), &wrong, now()).await.unwrap_err());
    assert_eq!(error.code, "directory.unusable");
    assert!(error.message.contains("password"), "{}", error.message);
    init(&plan(folder.path()), &password(), now()).await.unwrap();
}

#[tokio::test]
async fn names_that_no_certificate_can_carry_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for names in [&[][..], &["a b"], &["Upper.example"], &["a", "b", "c", "d", "e"], &["*.example"]] {
        let names = names.iter().map(ToString::to_string).collect();
        let plan = Plan { names, ..plan(&folder.path().join("never")) };
        let error = Failure::from(init(&plan, &password(), now()).await.unwrap_err());
        assert_eq!(error.exit, muster_terminal::Exit::Usage, "{:?}", plan.names);
        assert!(!plan.directory.exists());
    }
}
