//! Hostile servers against the board: each is refused by name, within the deadline, without a panic, and before the board
//! has shown or signed anything, as far as the server itself can tell from what it received. After all of them the board
//! comes back to its honest gateway by the same door.

use std::io::Read as _;
use std::net::TcpStream;

use muster_agent_nostd::tls::GuardError;
use muster_system_tests::corpus::{ServerCase, Verdict};
use muster_system_tests::firmware::{Behind, Door, EmulatedBoard, Stage};
use muster_system_tests::live::Device;
use muster_system_tests::rogue::{Attack, LateAttack, Material, Tls, attacks, late_attacks, shake_hands};

/// A board whose gateway is behind a door.
struct Siege {
    stage: Stage,
    device: Device,
    door: Door,
    powered: EmulatedBoard,
}

impl Siege {
    fn new() -> Self {
        let stage = Stage::new(1).unwrap();
        let door = Door::new(Behind::Test).unwrap();
        let (device, board) = stage.board_dialling(0, Some(&door.address())).unwrap();
        let powered = board.start().unwrap();
        Self { stage, device, door, powered }
    }

    /// The next connection that the board makes: `serve` has it, and then reads to its end. The board has to end it with
    /// this code, in time. What it sent behind what `serve` read.
    fn withstands<R>(
        &mut self,
        name: &str,
        code: &str,
        serve: impl FnOnce(&mut Tls<TcpStream>) -> std::io::Result<R>,
    ) -> (std::io::Result<R>, Vec<u8>) {
        let in_time = |said: anyhow::Result<String>| said.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        in_time(self.powered.says("session.dialling"));
        let dialled_at = self.powered.uptime_millis();
        let mut tls = Tls::accept(self.door.visitor().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let served = serve(&mut tls);
        let mut received = Vec::new();
        // A reset is an end, too.
        let _ = tls.raw().read_to_end(&mut received);
        assert_eq!(in_time(self.powered.says("session.closed")), code, "{name}");
        let took_millis = self.powered.uptime_millis() - dialled_at;
        assert!(took_millis < DEADLINE_MILLIS, "{name}: {took_millis} ms");
        assert!(self.powered.is_running().unwrap(), "{name}: {}", self.powered.tail());
        (served, received)
    }

    /// The door leads to the honest gateway, and the board enrols.
    fn comes_back(&self) {
        self.door.lead_to(Behind::Gateway(self.stage.world.ports().unwrap().mqtt));
        self.stage.settled(&self.device, &self.powered).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// What the board says of a connection that the guard ended so.
fn code_of(end: GuardError) -> &'static str {
    match end {
        GuardError::Timeout | GuardError::Broken => "unreachable",
        end => end.code().name(),
    }
}

/// One board withstands its share of the attacks before the handshake is over.
fn withstands_share(share: usize) {
    let mut siege = Siege::new();
    // The attacker lies in the middle, with a chain that the board accepts and its key: all but the attack is good.
    let ServerCase { chain, key, .. } = siege.stage.thief(&siege.device).unwrap().good();
    let material = Material { chain, key };
    for attack in attacks::<TcpStream>().iter().skip(share).step_by(BESIEGED) {
        let Attack { name, run, ends } = attack;
        // The board may hang up in the middle of it.
        let (_, received) = siege.withstands(name, code_of(*ends), |tls| run(tls, &material));
        assert_eq!(received.len(), attack.answered_bytes(), "{name}: sent to a stranger");
    }
    siege.comes_back();
}

#[test]
fn every_attack_is_refused_by_name_and_survived() {
    let attacks = attacks::<TcpStream>();
    assert!(attacks.len() >= 90, "{}", attacks.len());
    // They wait for one another most of the time.
    std::thread::scope(|scope| {
        for share in 0..BESIEGED {
            scope.spawn(move || withstands_share(share));
        }
    });
}

#[test]
fn no_bad_chain_of_a_gateways_is_believed() {
    let mut siege = Siege::new();
    let thief = siege.stage.thief(&siege.device).unwrap();
    let bad = thief.bad();
    assert!(bad.len() >= 18, "{}", bad.len());
    for ServerCase { what, chain, key, verdict } in bad {
        let Verdict::Refused(code) = verdict else { panic!("{what}") };
        let material = Material { chain, key };
        let (_, received) = siege.withstands(&what, code.name(), |tls| shake_hands(tls, &material).map(drop));
        assert_eq!(received, b"", "{what}: sent to a stranger");
    }
    siege.comes_back();
}

/// Whoever has the gateway's key: the device shows itself, and is still not to be broken.
#[test]
fn what_an_authenticated_peer_does_ends_the_session_by_name() {
    let mut siege = Siege::new();
    let ServerCase { chain, key, .. } = siege.stage.thief(&siege.device).unwrap().good();
    let material = Material { chain, key };
    let late = late_attacks::<TcpStream>();
    for name in LATE {
        let LateAttack { run, ends: (_, end), .. } = late.iter().find(|attack| attack.name == name).unwrap();
        let (served, received) = siege.withstands(name, code_of(end.unwrap()), |tls| {
            let established = shake_hands(tls, &material)?;
            let flight = tls.read_flight(&established)?;
            // MQTT's CONNECT.
            let (kind, connect) = tls.read_sealed()?;
            // It may hang up in the middle of it.
            let _ = run(tls);
            Ok((flight.len(), kind, connect[0]))
        });
        assert_eq!(served.unwrap(), (3, 23, 0x10), "{name}");
        assert_eq!(received, b"", "{name}: something was sent to a peer that broke the rules");
    }
    siege.comes_back();
}

/// Boards that the attacks before the handshake is over are dealt out to.
const BESIEGED: usize = 5;

/// After the handshake; the rest of the list runs on the host.
const LATE: [&str; 12] = [
    "KeyUpdate",
    "KeyUpdate that asks for nothing",
    "a CertificateRequest",
    "a Finished",
    "half a handshake message",
    "an inner type that does not exist",
    "padding alone",
    "an empty record",
    "a record that is too large",
    "a handshake record in the clear",
    "no end of empty records",
    "no end of tickets",
];

/// Twice the time of an answer, as `pace=quick` has it, and a second for the end of the connection before.
const DEADLINE_MILLIS: u64 = 11_500;
