//! The station against boards that are none: what it signs, what it refuses, when it gives up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use muster_issuing::{KeyPair, seal};
use muster_protocol::message::factory::frame::FrameReader;
use muster_protocol::message::factory::{
    Answer, Digest, Hello, Kept, Part, Request, Standing, decode_request, encode, sequence,
};
use muster_protocol::pki::{CsrDraft, PublicKey};
use muster_protocol::signed::Kind as Document;
use muster_protocol::trust::{self, GatewayAddress, Pins, Policy, TrustBundle};
use muster_protocol::{Code, DeviceId, FleetId, Identity};
use muster_provisioning::ceremony;
use muster_provisioning::ledger::{Ledger, Stage};
use muster_provisioning::station::{Kind, Offer, Office, Session, willing_to_sign};
use muster_terminal::{Exit, Failure};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        ceremony::init(&dir.path().join("pki"), "bench", b"correct horse").unwrap();
        std::fs::write(dir.path().join("fleet.muster"), fleet_file(1)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn office(&self) -> Result<Office, Failure> {
        self.office_for("lamp")
    }

    fn office_for(&self, product: &str) -> Result<Office, Failure> {
        let kind = Kind { product: product.into(), lot: String::new() };
        Office::open(&self.path("pki"), &self.path("out"), &self.path("fleet.muster"), kind)
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.path("pki")).unwrap()
    }
}

fn fleet_file(number: u32) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let address = GatewayAddress { host: "gw.acme.example".try_into().unwrap(), mqtt_port: 8883, https_port: 8443 };
    let bundle = TrustBundle {
        fleet: fleet(),
        number,
        gateway_cas: heapless::Vec::from_slice(&[&b"ca"[..]]).unwrap(),
        gateways: heapless::Vec::from_slice(&[address]).unwrap(),
        policy: Policy::default(),
        next_pins: None,
    };
    let body = postcard::to_stdvec(&bundle).unwrap();
    let signed = seal(Document::TrustBundle, trust::VERSION, &body, &[&key]).unwrap();
    let pins = Pins { root: key.public_key().fingerprint(), backup: key.public_key().fingerprint() };
    [&pins.root.0[..], &pins.backup.0, &signed].concat()
}

fn fleet() -> FleetId {
    FleetId::new("acme").unwrap()
}

fn identity(name: &str) -> Identity {
    Identity::device(fleet(), DeviceId::new(name).unwrap())
}

fn csr(name: &str, key: &KeyPair) -> Vec<u8> {
    let draft = CsrDraft::new(&identity(name), &key.public_key());
    let signature = key.sign(draft.to_be_signed());
    draft.finish(&signature).to_vec()
}

/// A request made by openssl with a key of its own; the key's public half, if it is one of ours, comes back too.
fn openssl_csr(genpkey: &str, arguments: &str) -> (Vec<u8>, Option<PublicKey>) {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    run(&format!("genpkey -algorithm {genpkey} -out key.pem"));
    run(&format!("req -new -key key.pem -outform DER -out request.der {arguments}"));
    run("pkey -in key.pem -pubout -outform DER -out public.der");
    let spki = std::fs::read(dir.path().join("public.der")).unwrap();
    (std::fs::read(dir.path().join("request.der")).unwrap(), PublicKey::from_spki(&spki).ok())
}

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve";

/// Requests that nobody signs, the key that the board shows with them, and why.
fn bad_requests() -> Vec<(&'static str, Vec<u8>, PublicKey, Code)> {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let shown = key.public_key();
    let good = csr("lamp-000001", &key);
    let mut torn = good.clone();
    *torn.last_mut().unwrap() ^= 1;
    let mut bad = vec![
        ("a bad signature", torn, shown, Code::CsrBadSignature),
        ("another's name", csr("lamp-000002", &key), shown, Code::CsrWrongName),
        ("another key than was shown", csr("lamp-000001", &other), shown, Code::FactoryKeyChanged),
        ("a byte too many", [&good[..], &[0]].concat(), shown, Code::CsrMalformed),
        ("oversized", [&good[..], &vec![0; 660 - good.len()]].concat(), shown, Code::CsrOversized),
        ("nothing", vec![], shown, Code::CsrMalformed),
    ];
    for (what, genpkey, code) in [
        ("RSA", "rsa -pkeyopt rsa_keygen_bits:2048", Code::CsrWrongKeyType),
        ("P-384", "ec -pkeyopt ec_paramgen_curve:P-384", Code::CsrWrongKeyType),
        ("secp256k1", "ec -pkeyopt ec_paramgen_curve:secp256k1", Code::CsrWrongKeyType),
        ("Ed25519", "ed25519", Code::CsrWrongKeyType),
    ] {
        bad.push((what, openssl_csr(genpkey, "-subj /serialNumber=lamp-000001").0, shown, code));
    }
    for (what, arguments, code) in [
        ("CA:TRUE", "-addext basicConstraints=critical,CA:TRUE", Code::CsrAsksCa),
        ("keyCertSign", "-addext keyUsage=keyCertSign", Code::CsrAsksCa),
        ("a second name", "-addext subjectAltName=URI:urn:muster:acme:lamp-000001,DNS:lamp", Code::CsrWrongName),
        ("another fleet", "-addext subjectAltName=URI:urn:muster:evil:lamp-000001", Code::CsrWrongName),
        ("a service", "-addext subjectAltName=URI:urn:muster:acme:service:lamp-000001", Code::CsrWrongName),
        ("SHA-384", "-sha384", Code::CsrBadSignature),
    ] {
        let (request, key) = openssl_csr(P256, &format!("-subj /serialNumber=lamp-000001 {arguments}"));
        bad.push((what, request, key.unwrap(), code));
    }
    bad
}

#[test]
fn the_station_signs_one_name_for_one_key() {
    let key = KeyPair::generate().unwrap();
    let offer = Offer { identity: identity("lamp-000001"), public_key: key.public_key() };
    let willing = willing_to_sign(&csr("lamp-000001", &key), &offer).unwrap();
    assert_eq!((willing.identity(), willing.public_key()), (&offer.identity, &offer.public_key));
    for (what, request, public_key, code) in bad_requests() {
        let offer = Offer { identity: identity("lamp-000001"), public_key };
        assert_eq!(willing_to_sign(&request, &offer), Err(code), "{what}");
    }
    let service = Identity::Service { fleet: fleet(), name: DeviceId::new("ingest").unwrap() };
    let offer = Offer { identity: service, public_key: key.public_key() };
    assert_eq!(willing_to_sign(&csr("lamp-000001", &key), &offer), Err(Code::CsrWrongName));
}

/// An answer in place of the usual one.
type Odd<'a> = Box<dyn FnMut(&Request<'_>) -> Option<Answer<'static>> + 'a>;

/// A board that follows no rule but those given here.
struct Puppet<'a> {
    standing: Standing,
    odd: Odd<'a>,
    key: PublicKey,
    csr: Vec<u8>,
    received: [usize; 2],
    asked: Vec<String>,
}

impl<'a> Puppet<'a> {
    fn new(key: PublicKey, csr: Vec<u8>) -> Self {
        let standing = Standing::Keyed { public_key: key };
        Self { standing, odd: Box::new(|_| None), key, csr, received: [0; 2], asked: Vec::new() }
    }

    fn odd(mut self, odd: impl FnMut(&Request<'_>) -> Option<Answer<'static>> + 'a) -> Self {
        self.odd = Box::new(odd);
        self
    }

    fn hello(&self) -> Answer<'static> {
        let text = |text: &str| text.try_into().unwrap();
        let standing = self.standing.clone();
        Answer::Hello(Hello { product: "lamp".try_into().unwrap(), board: text("puppet"), agent: text("0"), standing })
    }

    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let request = decode_request(message).unwrap();
        self.asked.push(format!("{request:?}").chars().take_while(char::is_ascii_alphabetic).collect());
        let number = sequence(message).unwrap();
        if let Some(answer) = (self.odd)(&request) {
            return encode(number, &answer).unwrap().to_vec();
        }
        let answer = match request {
            Request::Hello => self.hello(),
            Request::MakeKey => Answer::Key { public_key: self.key },
            Request::MakeCsr { .. } => Answer::Csr { csr: &self.csr },
            Request::Put { part, offset, bytes } => {
                let place = &mut self.received[usize::from(part == Part::Trust)];
                *place = usize::from(offset) + bytes.len();
                Answer::Received { part, bytes: u16::try_from(*place).unwrap() }
            }
            Request::Write { certificate, trust } => Answer::Written { certificate, trust },
            Request::Lock { certificate } => Answer::Locked { certificate },
            Request::Leave => Answer::Leaving,
        };
        encode(number, &answer).unwrap().to_vec()
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// One session; with the time it took.
fn session(office: &mut Office, puppet: &mut Puppet<'_>) -> (Result<DeviceId, Failure>, Duration) {
    let mut now = Duration::ZERO;
    let mut session = Session::begin(office.order(PATIENCE), 4711, now);
    let mut reader = FrameReader::new();
    for _ in 0..1000 {
        if let Some(done) = session.done() {
            return (Ok(done.device.clone()), now);
        }
        let sent = session.poll_send(now).map(<[u8]>::to_vec);
        let mut answers = Vec::new();
        for byte in sent.iter().flatten() {
            if let Some(message) = reader.push(*byte) {
                answers.push(puppet.answer(message));
            }
        }
        let outcome = match answers.as_slice() {
            [answer] if !answer.is_empty() => session.handle_message(now, answer, office),
            _ => {
                now = now.max(session.poll_timeout());
                session.handle_timeout(now)
            }
        };
        if let Err(failure) = outcome {
            return (Err(failure), now);
        }
    }
    panic!("the session never ends");
}

#[test]
fn no_bad_request_leads_to_a_certificate_or_a_bound_name() {
    let place = Place::new();
    let mut office = place.office().unwrap();
    for (what, request, key, code) in bad_requests() {
        let mut puppet = Puppet::new(key, request);
        let (refused, _) = session(&mut office, &mut puppet);
        let refused = refused.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.exit), (code.name(), Exit::Refused), "{what}");
        let ledger = place.ledger();
        let entry = ledger.book().device("lamp-000001").unwrap();
        assert_eq!((entry.stage, entry.key, &entry.certificate), (Stage::Reserved, None, &None), "{what}");
        assert!(!puppet.asked.contains(&"Put".to_owned()), "{what}: {:?}", puppet.asked);
    }
    // The name is still good for an honest board.
    let key = KeyPair::generate().unwrap();
    let (made, _) = session(&mut office, &mut Puppet::new(key.public_key(), csr("lamp-000001", &key)));
    assert_eq!(made.unwrap().as_str(), "lamp-000001");
}

#[test]
fn a_board_that_goes_wrong_is_given_up_with_a_reason() {
    let key = KeyPair::generate().unwrap();
    let request = || csr("lamp-000001", &key);
    let refuse = |code| Some(Answer::Refused { code });
    let written = Answer::Written { certificate: Digest::of(b"other"), trust: Digest::of(b"other") };
    let locked = Answer::Locked { certificate: Digest::of(b"other") };
    let cases: Vec<(&str, Odd<'_>, &str, Exit)> = vec![
        (
            "reads back something else",
            Box::new(move |request| matches!(request, Request::Write { .. }).then(|| written.clone())),
            "factory.storage",
            Exit::Refused,
        ),
        (
            "locks something else",
            Box::new(move |request| matches!(request, Request::Lock { .. }).then(|| locked.clone())),
            "factory.storage",
            Exit::Refused,
        ),
        (
            "never keeps a byte",
            Box::new(|request| match request {
                Request::Put { part, .. } => Some(Answer::Received { part: *part, bytes: 0 }),
                _ => None,
            }),
            "factory.incomplete",
            Exit::Refused,
        ),
        (
            "keeps too much",
            Box::new(|request| match request {
                Request::Put { part, .. } => Some(Answer::Received { part: *part, bytes: u16::MAX }),
                _ => None,
            }),
            "factory.incomplete",
            Exit::Refused,
        ),
        (
            "refuses the certificate",
            Box::new(move |request| match request {
                Request::Write { .. } => refuse(Code::CertificateProfile),
                _ => None,
            }),
            "certificate.profile",
            Exit::Refused,
        ),
        ("refuses hello", Box::new(move |_| refuse(Code::FactoryStorage)), "factory.storage", Exit::Refused),
    ];
    for (what, odd, code, exit) in cases {
        let place = Place::new();
        let mut puppet = Puppet::new(key.public_key(), request()).odd(odd);
        let (failed, _) = session(&mut place.office().unwrap(), &mut puppet);
        let failed = failed.unwrap_err();
        assert_eq!((failed.code.as_str(), failed.exit), (code, exit), "{what}");
        let ledger = place.ledger();
        assert!(ledger.book().device("lamp-000001").is_none_or(|entry| entry.stage < Stage::Locked), "{what}");
    }
}

#[test]
fn a_silent_line_is_given_up_after_its_patience() {
    let place = Place::new();
    let mut office = place.office().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut now = Duration::ZERO;
    let mut session = Session::begin(office.order(PATIENCE), 1, now);
    let mut sent = 0;
    let failed = loop {
        sent += u32::from(session.poll_send(now).is_some());
        now = session.poll_timeout();
        match session.handle_timeout(now) {
            Ok(()) => {}
            Err(failure) => break failure,
        }
    };
    assert_eq!((failed.code.as_str(), failed.exit), ("station.silent", Exit::Failed));
    assert!(now >= PATIENCE && now < PATIENCE + Duration::from_secs(1) && sent > 20, "{now:?} {sent}");

    // Answers of the wrong kind are silence too, not a reason to wait for ever.
    let mut wrong = Puppet::new(key.public_key(), Vec::new()).odd(|_| Some(Answer::Leaving));
    let (failed, took) = self::session(&mut office, &mut wrong);
    assert_eq!(failed.unwrap_err().code, "station.silent");
    assert!(took >= PATIENCE, "{took:?}");
}

#[test]
fn stale_and_foreign_messages_change_nothing() {
    let place = Place::new();
    let mut office = place.office().unwrap();
    let key = KeyPair::generate().unwrap();
    let now = Duration::ZERO;
    let mut session = Session::begin(office.order(PATIENCE), 100, now);
    let puppet = Puppet::new(key.public_key(), csr("lamp-000001", &key));
    session.poll_send(now).unwrap();
    for stale in [100, 102, 1, u16::MAX] {
        session.handle_message(now, &encode(stale, &puppet.hello()).unwrap(), &mut office).unwrap();
        assert!(session.hello().is_none() && session.poll_send(now).is_none(), "{stale}");
    }
    for junk in [&[][..], &[1], &[1, 101, 0], &[1, 101, 0, 99], &[1, 101, 0, 6, 6]] {
        session.handle_message(now, junk, &mut office).unwrap();
    }
    session.handle_message(now, &encode(101, &puppet.hello()).unwrap(), &mut office).unwrap();
    assert!(session.hello().is_some());
    let other = session.handle_message(now, &[2, 102, 0, 0], &mut office).unwrap_err();
    assert_eq!((other.code.as_str(), other.exit), ("message.version", Exit::Refused));
}

#[test]
fn a_board_that_claims_a_locked_identity_has_to_show_the_ledgers_own() {
    let place = Place::new();
    let mut office = place.office().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut puppet = Puppet::new(key.public_key(), csr("lamp-000001", &key));
    session(&mut office, &mut puppet).0.unwrap();
    office.close_books().unwrap();
    let ledger = place.ledger();
    let entry = ledger.book().by_key(&key.public_key()).unwrap();
    let kept = Kept {
        fleet: fleet(),
        device: entry.device.clone(),
        public_key: key.public_key(),
        certificate: Digest::of(entry.certificate.as_deref().unwrap()),
    };
    let claim = |kept: Kept, office: &mut Office| {
        let mut puppet = Puppet::new(key.public_key(), Vec::new());
        puppet.standing = Standing::Locked { kept };
        session(office, &mut puppet).0.map_err(|failure| failure.code)
    };
    assert_eq!(claim(kept.clone(), &mut office), Ok(entry.device.clone()));
    for changed in [
        Kept { fleet: FleetId::new("evil").unwrap(), ..kept.clone() },
        Kept { device: DeviceId::new("lamp-000002").unwrap(), ..kept.clone() },
        Kept { public_key: KeyPair::generate().unwrap().public_key(), ..kept.clone() },
        Kept { certificate: Digest::of(b"other"), ..kept },
    ] {
        assert_eq!(claim(changed, &mut office), Err("factory.foreign".to_owned()));
    }
}

#[test]
fn the_next_board_on_the_line_ends_the_leave_of_the_last() {
    let place = Place::new();
    let mut office = place.office().unwrap();
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    for (key, name) in keys.iter().zip(["lamp-000001", "lamp-000002"]) {
        let mut puppet = Puppet::new(key.public_key(), csr(name, key)).odd(|request| match request {
            Request::Leave => Some(Answer::Refused { code: Code::MessageUnexpected }),
            _ => None,
        });
        let (made, _) = session(&mut office, &mut puppet);
        assert_eq!(made.unwrap().as_str(), name, "the leave is refused by another board: this one is done");
    }
}

#[test]
fn a_folder_is_for_one_product_one_fleet_file_and_one_station() {
    let place = Place::new();
    let first = place.office().unwrap();
    let busy = place.office().unwrap_err();
    assert_eq!((busy.code.as_str(), busy.exit), ("station.busy", Exit::Failed));
    drop(first);
    let refused = |failure: Failure| (failure.code, failure.exit);
    assert_eq!(refused(place.office_for("valve").unwrap_err()), ("station.differs".into(), Exit::Refused));
    let fleet = std::fs::read(place.path("fleet.muster")).unwrap();
    std::fs::write(place.path("fleet.muster"), fleet_file(2)).unwrap();
    assert_eq!(refused(place.office().unwrap_err()), ("station.differs".into(), Exit::Refused));
    std::fs::write(place.path("fleet.muster"), &fleet[1..]).unwrap();
    assert_eq!(place.office().unwrap_err().exit, Exit::Refused);
    std::fs::write(place.path("fleet.muster"), fleet).unwrap();
    place.office().unwrap();
    std::fs::write(place.path("out/batch.json"), b"{}").unwrap();
    assert_eq!(refused(place.office().unwrap_err()), ("station.differs".into(), Exit::Refused));
}

/// A serial device is a pseudo-terminal here: raw bytes in both directions, and one user at a time.
#[test]
fn a_serial_device_is_raw_and_has_one_user() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::ffi::OsStringExt as _;

    use muster_provisioning::station::{Link, Place as At};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let name = ptsname(&board, Vec::new()).unwrap();
    let device = At::Device(std::ffi::OsString::from_vec(name.into_bytes()).into());
    let mut board = std::fs::File::from(board);

    let mut link = Link::open(&device, 115_200).unwrap();
    assert_eq!(Link::open(&device, 115_200).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // Everything that a terminal would change: line ends, signals, flow control, the end of a file.
    let every: Vec<u8> = (0..=255).collect();
    link.write(&every).unwrap();
    let mut heard = [0; 256];
    board.read_exact(&mut heard).unwrap();
    assert_eq!(heard, *every);
    board.write_all(&every).unwrap();
    let mut answer = Vec::new();
    while answer.len() < 256 {
        let read = link.read(&mut heard, PATIENCE).unwrap();
        answer.extend_from_slice(&heard[..read]);
    }
    assert_eq!(answer, every);
    assert_eq!(link.read(&mut heard, Duration::from_millis(1)).unwrap(), 0);
    drop(board);
    assert!(link.read(&mut heard, PATIENCE).is_err(), "unplugged");
    assert!(Link::open(&At::Device("/dev/null".into()), 115_200).is_err());
}
