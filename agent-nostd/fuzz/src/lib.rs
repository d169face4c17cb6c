//! One function per parser of the device that a peer, or a flash, feeds: bytes that nobody made on purpose go in, and
//! nothing may panic. The parsers of the core have theirs in `protocol/fuzz`.
//!
//! The ordinary test run drives them for a bounded time (`tests/it/fuzz.rs`); libFuzzer does for as long as one likes:
//! `cargo fuzz run gate` in `agent-nostd/`.

// Parsers that the agent keeps to itself, by their files.
#[allow(dead_code)]
#[path = "../../src/slots/entry.rs"]
mod entry;
mod factory;
mod flash;
#[path = "../../src/tls/flight.rs"]
mod flight;
#[path = "../../src/agent/http.rs"]
mod http;
mod link;
#[allow(dead_code)]
#[path = "../../src/mqtt/packet.rs"]
mod packet;
pub(crate) mod server;

use embassy_futures::block_on;
use embassy_time::{Duration, Instant};
use muster_agent_nostd::key::KeyStore as _;
use muster_agent_nostd::mqtt::{End, Memory, Session};
use muster_agent_nostd::slots::{FactoryItem, FactoryRecords as _, Slots};
use muster_agent_nostd::tls::{self, Buffers, Credential, Expected, GuardError};
use muster_protocol::device_id::DeviceId;
use muster_protocol::limits::TRUST_BUNDLE_BYTES_MAX;
use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock};
use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::Item;
use muster_protocol::time::UnixTime;

use flash::Flash;
use server::{Plain, Script, Seeded};

/// A parser under test.
pub type Target = fn(&[u8]);

/// Every target, by the name of its libFuzzer program.
pub const TARGETS: &[(&str, Target)] = &[
    ("answer", answer),
    ("entries", entries),
    ("factory", factory_line),
    ("flight", server_flight),
    ("gate", gate),
    ("hello", hello),
    ("mqtt", mqtt),
    ("packet", mqtt_packet),
    ("slots", slots),
    ("unjudged", unjudged),
];

/// Everything that a server could answer a ClientHello with, in pieces of any size (the first byte chooses): the
/// record gate, and whatever gets through it.
pub fn gate(bytes: &[u8]) {
    let (piece, answer) = bytes.split_first().map_or((1, bytes), |(piece, answer)| (usize::from(*piece) + 1, answer));
    handshake(answer, piece);
}

/// The same, inside a record of the right type: what a ServerHello can say.
pub fn hello(bytes: &[u8]) {
    let [high, low] = (bytes.len().min(2000) as u16).to_be_bytes();
    let mut answer = vec![22, 3, 3, high, low];
    answer.extend_from_slice(bytes);
    handshake(&answer, usize::MAX);
}

fn handshake(answer: &[u8], piece: usize) {
    let mut buffers = Box::new(Buffers::new());
    let mut signed = 0;
    let mut sign = |_: &[u8]| {
        signed += 1;
        None
    };
    let expected = Expected {
        name: "gateway.test",
        gateway_cas: &[],
        clock: GatewayClock { floor: UnixTime(0), civil: None },
        algorithm: ECDSA_P256_SHA256,
    };
    let script = Script::new(answer, piece);
    let sent = script.sent.clone();
    let credential = Credential { certificate: b"a certificate", sign: &mut sign };
    let mut rng = Seeded::new();
    let opened = tls::connect(script, &mut buffers, &expected, credential, &mut rng, deadline());
    let ended = block_on(opened).map(|_| ());
    assert!(ended.is_err(), "nobody without a key of ours is a gateway");
    assert_eq!(signed, 0, "the key signed for a stranger");
    assert_one_record(&sent.borrow());
}

/// A server that is not judged, and still cannot be believed.
pub fn unjudged(bytes: &[u8]) {
    let mut buffers = Box::new(Buffers::new());
    let script = Script::new(bytes, 64);
    let sent = script.sent.clone();
    let mut rng = Seeded::new();
    let opened = tls::open_unjudged(script, &mut buffers, "192.0.2.1", &mut rng, deadline());
    assert!(block_on(opened).is_err(), "these bytes know no key share of ours");
    assert_one_record(&sent.borrow());
}

/// What an authenticated gateway could say in MQTT, after our CONNECT.
pub fn mqtt(bytes: &[u8]) {
    let Ok(device) = DeviceId::new("dev-1") else { return };
    let (piece, answer) = bytes.split_first().map_or((1, bytes), |(piece, answer)| (usize::from(*piece) + 1, answer));
    let mut memory = Box::new(Memory::new());
    let mut stream = Plain(Script::new(answer, piece));
    let filter = "$muster/dev-1/control/down";
    block_on(async {
        match Session::open(&mut memory, &mut stream, &device, 60, filter, deadline()).await {
            Ok(mut session) => {
                for _ in 0..64 {
                    if session.next(core::future::pending()).await.is_err() {
                        break;
                    }
                }
            }
            Err(end) => assert_ne!(end, End::Silent, "a script that has ended is a closed connection"),
        }
    });
}

/// MQTT packets: as they come, and with a header that fits what stands behind it.
pub fn mqtt_packet(bytes: &[u8]) {
    let _ = (packet::needed(bytes), packet::Packet::read(bytes));
    let body = &bytes[..bytes.len().min(120)];
    for kind in [0x20, 0x30, 0x32, 0x40, 0x90, 0xd0, 0xe0] {
        let packet = [&[kind, body.len() as u8], body].concat();
        assert_eq!(packet::needed(&packet), Ok(packet.len()), "a whole packet");
        if let Ok(packet::Packet::Publish { topic, payload, .. }) = packet::Packet::read(&packet) {
            assert!(topic.len() + payload.len() <= body.len(), "more than was sent");
        }
    }
}

/// The handshake messages of one record, in any phase (the first byte chooses).
pub fn server_flight(bytes: &[u8]) {
    let Some((phase, messages)) = bytes.split_first() else { return };
    let phase = link::Phase::ALL[usize::from(*phase) % link::Phase::ALL.len()];
    if flight::check(phase, messages).is_ok() {
        assert!(messages.len() >= 4, "a record without a message");
        assert!(flight::check(phase, &messages[..messages.len() - 1]).is_err(), "a message that is cut");
    }
}

/// What a web server answers, in pieces of any size (the first byte chooses).
pub fn answer(bytes: &[u8]) {
    let (piece, text) = bytes.split_first().map_or((1, bytes), |(piece, text)| (usize::from(*piece) + 1, text));
    let (mut head, mut body) = ([0; 256], [0; TRUST_BUNDLE_BYTES_MAX + 64]);
    let mut script = Script::new(text, piece);
    if let Some(length) = block_on(http::read_answer(&mut script, &mut head, &mut body)) {
        assert!((1..=TRUST_BUNDLE_BYTES_MAX).contains(&length));
        assert!(text.windows(length).any(|window| window == &body[..length]), "what nobody sent");
    }
}

/// Bytes on the serial line of a blank board: as they come, or each piece in a frame of its own (the first byte chooses).
pub fn factory_line(bytes: &[u8]) {
    factory::serve(bytes);
}

/// An identity partition with anything in it: units begin with pieces of the bytes.
pub fn slots(bytes: &[u8]) {
    if let Ok(mut slots) = Slots::open(Flash::with(bytes), 0) {
        let mut buffer = vec![0; TRUST_BUNDLE_BYTES_MAX + 1024];
        for item in [Item::Slot(SlotId::A), Item::Slot(SlotId::B), Item::Trust, Item::Life] {
            let _ = slots.read(item, &mut buffer);
        }
        let _ = slots.write(Item::Life, &[7; 22]);
        let _ = slots.read(Item::Life, &mut buffer);
    }
}

/// An identity partition of entries in good form, whatever they say: any kind anywhere, in any order, with any payload,
/// committed or not.
pub fn entries(bytes: &[u8]) {
    let Ok(mut slots) = Slots::open(Flash::of_entries(bytes), 0) else { return };
    let mut buffer = vec![0; TRUST_BUNDLE_BYTES_MAX + 1024];
    for item in [Item::Slot(SlotId::A), Item::Slot(SlotId::B), Item::Trust, Item::Life] {
        let _ = slots.read(item, &mut buffer);
    }
    for item in [FactoryItem::Certificate, FactoryItem::Fleet, FactoryItem::Gateway] {
        let _ = slots.factory_item(item, &mut buffer);
    }
    let _ = (slots.is_sealed(), slots.public_key(SlotId::A), slots.public_key(SlotId::B));
    // Whatever lies there, what is stored from now on is kept.
    assert_eq!(slots.write(Item::Life, &[7; 22]), Ok(()));
    assert_eq!(slots.read(Item::Life, &mut buffer), Ok(Some(22)));
    assert_eq!(buffer[..22], [7; 22]);
    assert!(slots.generate(SlotId::B, &mut Seeded::new()).is_ok());
    assert!(matches!(slots.public_key(SlotId::B), Ok(Some(_))));
}

/// A ClientHello went out, and at most an alert behind it.
fn assert_one_record(sent: &[u8]) {
    let hello_bytes = sent.get(3..5).map_or(0, |length| 5 + usize::from(u16::from_be_bytes([length[0], length[1]])));
    assert!(sent.len() <= hello_bytes + 7, "{} bytes behind the ClientHello", sent.len() - hello_bytes);
}

/// Long enough never to be reached: a script that has ended is a closed connection.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// What every scripted stream fails with.
const ENDED: GuardError = GuardError::Broken;
