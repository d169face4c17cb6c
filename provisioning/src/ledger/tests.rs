//! The ledger torn at every byte, changed at every byte, shared by stations, and lied to.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use muster_issuing::{Issuer, KeyPair};
use muster_protocol::message::factory::Digest;
use muster_protocol::pki::{Profile, PublicKey};
use muster_protocol::{DeviceId, FleetId, Identity, UnixTime};
use muster_terminal::Exit;

use super::*;

const RUN: &str = "00000000000000aa";

fn line(run: &str, step: Step) -> Line {
    Line { v: VERSION, at: 1_767_225_600, run: run.to_owned(), step }
}

fn opened() -> Step {
    let text = |text: &str| text.to_owned();
    Step::Opened { fleet: text("acme"), product: text("lamp"), lot: text(""), out: text("/out") }
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn key() -> PublicKey {
    KeyPair::generate().unwrap().public_key()
}

/// A certificate for the key; of which CA it is makes no difference here.
fn certificate(name: &str, key: &PublicKey) -> Vec<u8> {
    let now = UnixTime(1_767_225_600);
    let ca = Issuer::create(Profile::DeviceCa, "test CA", KeyPair::generate().unwrap(), now).unwrap();
    let identity = Identity::device(FleetId::new("acme").unwrap(), device(name));
    ca.issue(Profile::Ldevid, &identity, key, now).unwrap()
}

/// The steps of one device's life.
fn life(name: &str) -> Vec<Step> {
    let key = key();
    let der = certificate(name, &key);
    let trust = Digest::of(b"trust");
    vec![
        Step::Reserved { device: name.to_owned() },
        Step::bound(&device(name), &key),
        Step::issued(&device(name), &der),
        Step::written(&device(name), &Digest::of(&der), &trust),
        Step::Locked { device: name.to_owned() },
        Step::Done { device: name.to_owned() },
    ]
}

fn add(ledger: &mut Ledger, run: &str, steps: &[Step]) -> Result<(), Failure> {
    steps.iter().try_for_each(|step| ledger.transact(|_| Ok((vec![line(run, step.clone())], ()))))
}

#[test]
fn what_is_written_is_read_by_the_next_station() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    add(&mut ledger, RUN, &[opened()]).unwrap();
    add(&mut ledger, RUN, &life("lamp-000001")).unwrap();
    add(&mut ledger, RUN, life("lamp-000002").get(..3).unwrap()).unwrap();
    let again = Ledger::open(dir.path()).unwrap();
    assert_eq!(again.book().device("lamp-000001").unwrap().stage, Stage::Done);
    assert_eq!(again.book().device("lamp-000001").unwrap().locked_at, Some(1_767_225_600));
    let second = again.book().device("lamp-000002").unwrap();
    assert_eq!(second.stage, Stage::Issued);
    assert_eq!(again.book().by_key(&second.key.unwrap()), Some(second));
    assert_eq!(again.book().of_run(RUN).count(), 2);
    assert_eq!(again.book().run(RUN).unwrap().product, "lamp");
}

#[test]
fn a_line_that_was_torn_at_any_byte_was_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    add(&mut ledger, RUN, &[opened(), Step::Reserved { device: "lamp-000001".into() }]).unwrap();
    let path = dir.path().join(LEDGER);
    let before = fs::read(&path).unwrap();
    let bound = Step::bound(&device("lamp-000001"), &key());
    add(&mut ledger, RUN, std::slice::from_ref(&bound)).unwrap();
    let after = fs::read(&path).unwrap();
    for length in before.len()..after.len() {
        fs::write(&path, &after[..length]).unwrap();
        let mut next = Ledger::open(dir.path()).unwrap();
        assert_eq!(next.book().device("lamp-000001").unwrap().stage, Stage::Reserved, "{length}");
        assert_eq!(fs::read(&path).unwrap(), before, "{length}: what was torn is gone");
        add(&mut next, RUN, std::slice::from_ref(&bound)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), after, "{length}");
    }
}

#[test]
fn a_line_that_was_changed_removed_or_moved_stops_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    add(&mut ledger, RUN, &[opened()]).unwrap();
    add(&mut ledger, RUN, life("lamp-000001").get(..2).unwrap()).unwrap();
    let path = dir.path().join(LEDGER);
    let whole = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let failure = Ledger::open(dir.path()).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.exit), ("ledger.damaged", Exit::Refused));
    };
    for at in 0..whole.len() - 1 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        damaged(&changed);
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let [first, second, third] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    for order in [vec![second, third], vec![first, third], vec![second, first, third], vec![first, second, second]] {
        damaged(&order.into_iter().copied().collect::<Vec<_>>().concat());
    }
    // Fewer lines fit: whoever can cut the file off can write it. Under an open ledger it is seen.
    fs::write(&path, first).unwrap();
    assert_eq!(add(&mut ledger, RUN, &life("lamp-000002")).unwrap_err().code, "ledger.damaged");
}

#[test]
fn one_name_has_one_key_and_one_key_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    add(&mut ledger, RUN, &[opened()]).unwrap();
    let first = life("lamp-000001");
    add(&mut ledger, RUN, first.get(..2).unwrap()).unwrap();
    add(&mut ledger, RUN, &[Step::Reserved { device: "lamp-000002".into() }]).unwrap();
    let Some(Step::Bound { key: first_key, .. }) = first.get(1).cloned() else { panic!("no key") };
    let refused = |ledger: &mut Ledger, step: Step| {
        let before = fs::read(dir.path().join(LEDGER)).unwrap();
        let failure = add(ledger, RUN, &[step]).unwrap_err();
        assert_eq!(fs::read(dir.path().join(LEDGER)).unwrap(), before);
        failure.code
    };
    let bound = |name: &str, key: &str| Step::Bound { device: name.into(), key: key.into() };
    assert_eq!(refused(&mut ledger, bound("lamp-000002", &first_key)), "factory.key_bound");
    assert_eq!(refused(&mut ledger, Step::bound(&device("lamp-000001"), &key())), "factory.number_taken");
    assert_eq!(refused(&mut ledger, Step::Reserved { device: "lamp-000001".into() }), "factory.number_taken");
    for step in [
        bound("lamp-000002", "04"),
        Step::bound(&device("lamp-000009"), &key()),
        Step::issued(&device("lamp-000002"), &certificate("lamp-000002", &key())),
        Step::issued(&device("lamp-000001"), &certificate("lamp-000001", &key())),
        Step::issued(&device("lamp-000001"), b"no certificate"),
        Step::written(&device("lamp-000001"), &Digest::of(b""), &Digest::of(b"")),
        Step::Locked { device: "lamp-000001".into() },
        Step::Done { device: "lamp-000001".into() },
        Step::Reserved { device: "-".into() },
        opened(),
    ] {
        assert_eq!(refused(&mut ledger, step.clone()), "ledger.rule", "{step:?}");
    }
    let stranger = ledger.transact(|_| Ok((vec![line("other", Step::Reserved { device: "x".into() })], ())));
    assert_eq!(stranger.unwrap_err().code, "ledger.rule");
    // A refusal leaves the ledger usable, and the device goes on.
    add(&mut ledger, RUN, first.get(2..).unwrap()).unwrap();
    for again in first.iter().skip(2) {
        assert_eq!(refused(&mut ledger, again.clone()), "ledger.rule", "no step comes twice");
    }
}

#[test]
fn stations_share_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for station in 0..4 {
            let path = dir.path();
            scope.spawn(move || {
                let mut ledger = Ledger::open(path).unwrap();
                let run = format!("{station:016x}");
                add(&mut ledger, &run, &[opened()]).unwrap();
                for number in 0..5 {
                    add(&mut ledger, &run, &life(&format!("lamp-{station}-{number}"))).unwrap();
                }
            });
        }
    });
    let ledger = Ledger::open(dir.path()).unwrap();
    for station in 0..4 {
        let run = format!("{station:016x}");
        assert_eq!(ledger.book().of_run(&run).filter(|entry| entry.stage == Stage::Done).count(), 5);
    }
}

#[test]
fn lines_have_their_form() {
    let (text, chain) = Chain::default().write(&line(RUN, Step::Reserved { device: "lamp-000001".into() }));
    let expected =
        format!("{{\"v\":1,\"at\":1767225600,\"run\":\"{RUN}\",\"step\":\"reserved\",\"device\":\"lamp-000001\"}}\n");
    assert_eq!(text.get(17..), Some(&*expected));
    let read = Chain::default().read(text.trim_end()).unwrap();
    assert_eq!(read, (line(RUN, Step::Reserved { device: "lamp-000001".into() }), chain));
    let (newer, _) = Chain::default().write(&Line { v: 2, ..read.0 });
    assert_eq!(Chain::default().read(newer.trim_end()), None);
}
