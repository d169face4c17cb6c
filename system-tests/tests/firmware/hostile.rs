//! Hostile servers against the board: refused by name within the deadline, without a panic, and before it has shown or
//! signed anything. The whole list of attacks runs on the host (`tests/hostile`); here are those that broke the library
//! under the guard, and a few more.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use muster_agent_nostd::tls::GuardError;
use muster_system_tests::firmware::{HOST_ADDRESS, Stage};
use muster_system_tests::rogue::{Attack, Material, Tls, attacks};
use muster_system_tests::test_pki::TestKey;

/// The attacks, by their names in the list.
const ATTACKS: [&str; 8] = [
    "a Finished and no certificate",
    "CertificateVerify first",
    "an encrypted record without anything",
    "an encrypted record of a type alone",
    "zeros",
    "a record of 16 KiB",
    "HelloRetryRequest",
    "silence",
];

#[test]
fn every_attack_is_refused_by_name_and_survived() {
    let stage = Stage::new(1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = format!("{HOST_ADDRESS}:{}", listener.local_addr().unwrap().port());
    let (_, board) = stage.board_dialling(0, Some(&gateway)).unwrap();
    let mut powered = board.start().unwrap();
    let all = attacks::<TcpStream>();
    for name in ATTACKS {
        let Attack { run, ends, .. } = all.iter().find(|attack| attack.name == name).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = Tls::accept(socket).unwrap();
        let material = Material { chain: Vec::new(), key: TestKey::new("stranger", 1) };
        // The board may hang up in the middle of it.
        let _ = run(&mut tls, &material);
        let mut received = Vec::new();
        let _ = tls.raw().read_to_end(&mut received);
        assert_eq!(received, b"", "{name}: sent to a stranger");
        let closed = powered.says("session.closed").unwrap();
        let code = if *ends == GuardError::Timeout { "unreachable" } else { ends.code().name() };
        assert_eq!(closed, code, "{name}");
        assert!(powered.is_running().unwrap(), "{name}: {}", powered.tail());
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
