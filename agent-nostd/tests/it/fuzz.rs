//! The fuzz targets of `agent-nostd/fuzz`, for a bounded time: mutations of good inputs, the same ones in every run.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../protocol/fuzz/src/drive.rs"]
mod drive;
#[allow(unreachable_pub)] // A crate of its own for libFuzzer.
#[path = "../../fuzz/src/lib.rs"]
pub(crate) mod targets;

/// Mutations of each target's seeds: a few seconds for all of them. A handshake draws a key pair each time.
const ROUNDS: u32 = 400;

/// A test for each target, and one that sees that none is forgotten.
macro_rules! drive_each {
    ($($name:ident: $rounds:expr),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                let (_, target) = targets::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
                drive::drive(*target, &seeds(name), $rounds);
            }
        )*

        #[test]
        fn every_target_is_driven() {
            let targets: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(targets, [$(stringify!($name)),*]);
        }
    };
}

drive_each!(
    answer: 20 * ROUNDS,
    entries: 5 * ROUNDS,
    factory: 2 * ROUNDS,
    flight: 20 * ROUNDS,
    gate: ROUNDS,
    hello: ROUNDS,
    mqtt: 10 * ROUNDS,
    packet: 20 * ROUNDS,
    slots: 10 * ROUNDS,
    unjudged: ROUNDS,
);

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let hello = server_hello();
    let record = [&[22, 3, 3, 0, hello.len() as u8][..], &hello].concat();
    let sealed = [&[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 64][..], &[0x5a; 64]].concat();
    match target {
        "hello" => vec![hello],
        "gate" => vec![
            [&[255], &record[..], &sealed].concat(),
            [&[0], &record[..]].concat(),
            vec![255, 21, 3, 3, 0, 2, 2, 40],
        ],
        "unjudged" => vec![[&record[..], &sealed].concat()],
        "answer" => ANSWERS.iter().map(|text| [&[255], text.as_bytes()].concat()).collect(),
        "entries" => entry_seeds(),
        "factory" => request_seeds(),
        "flight" => flight_seeds(),
        "packet" => vec![
            b"\x00\x87\x13\x1f\x00\x10device.suspended".to_vec(),
            b"\x98\x23\x24\x01\x11\x00\x00\x00\x00\x26\x00\x01a\x00\x01b\x1f\x00\x0edevice.retired".to_vec(),
            b"\x00\x01a\x00\x07\x00content".to_vec(),
            b"\xe0\x02\x98\x00".to_vec(),
        ],
        "mqtt" => vec![connack(0x00, "session.busy"), connack(0x87, "device.suspended"), session()],
        "slots" => vec![vec![0xff; 700], vec![0; 700], (0..3500_u32).map(|at| (at * 7) as u8).collect()],
        other => panic!("no seeds for {other}"),
    }
}

const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
];

/// Unit, kind, sequence, words of the payload, commitment: a life, trust, a slot with its key, a rescue under way.
fn entry_seeds() -> Vec<Vec<u8>> {
    let entry = |unit: u8, kind: u8, sequence: u8, payload: &[u8]| {
        [&[unit, kind, sequence, payload.len() as u8 / 4, 1], payload].concat()
    };
    let life = muster_protocol::device::LifeRecord::default().encode();
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let point = key.verifying_key().to_encoded_point(false);
    let key = muster_protocol::pki::PublicKey::from_sec1(point.as_bytes()).unwrap();
    let mut record = muster_protocol::slot::SlotRecord::keyed(1, key).encode().to_vec();
    record.resize(record.len().next_multiple_of(4), 0);
    let slot = [entry(1, 0, 1, &[7; 32]), entry(1, 1, 2, &record), entry(1, 2, 3, &[2; 20])].concat();
    vec![
        [entry(5, 4, 1, &life[..20]), entry(6, 4, 2, &life[..20])].concat(),
        slot.clone(),
        [slot, entry(3, 0, 4, &[7; 32]), entry(3, 1, 5, &record), entry(3, 5, 6, &[0, 1, 1, 0])].concat(),
        [entry(0, 6, 1, &[7; 32]), entry(0, 7, 2, &[0x30; 64]), entry(0, 10, 3, &[])].concat(),
        [entry(3, 3, 1, &[3; 400]), entry(4, 3, 2, &[4; 400])].concat(),
    ]
}

/// Each request of a station's once, in frames.
fn request_seeds() -> Vec<Vec<u8>> {
    use muster_protocol::message::factory::{Part, Request, encode};
    let requests = [
        Request::Hello,
        Request::MakeKey,
        Request::Put { part: Part::Certificate, offset: 0, bytes: &[0x30, 3, 2, 1, 1] },
        Request::Put { part: Part::Trust, offset: 0, bytes: &[1; 40] },
        Request::Leave,
    ];
    let messages = requests.iter().zip(1..).map(|(request, sequence)| encode(sequence, request).unwrap().to_vec());
    let framed = messages.clone().flat_map(|message| [&[message.len() as u8], &message[..]].concat());
    vec![std::iter::once(1).chain(framed).collect(), messages.fold(vec![0], |all, message| [all, message].concat())]
}

/// A flight, whole and from each of its messages on, in the phase in which that is right.
fn flight_seeds() -> Vec<Vec<u8>> {
    let finished = [&[20, 0, 0, 32][..], &[7; 32]].concat();
    let messages: [&[u8]; 5] = [
        &[8, 0, 0, 2, 0, 0],
        &[13, 0, 0, 3, 0, 0, 0],
        &[11, 0, 0, 4, 0, 0, 0, 0],
        &[15, 0, 0, 4, 4, 3, 0, 0],
        &finished,
    ];
    [(1, 0), (2, 1), (2, 2), (3, 3), (4, 4)]
        .map(|(phase, from)| [&[phase], &messages[from..].concat()[..]].concat())
        .to_vec()
}

/// A ServerHello that answers ours, with the generator of the curve as its share.
fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0x13, 0x01, 0, 0, 79, 0, 43, 0, 2, 3, 4, 0, 51, 0, 69, 0, 0x17, 0, 65]);
    body.extend(GENERATOR);
    [&[2, 0, 0, body.len() as u8][..], &body].concat()
}

/// CONNACK with a reason and its text, behind the byte that chooses the size of pieces.
fn connack(reason: u8, text: &str) -> Vec<u8> {
    let mut packet = vec![255, 0x20, text.len() as u8 + 6, 0, reason, text.len() as u8 + 3, 0x1f, 0, text.len() as u8];
    packet.extend(text.as_bytes());
    packet
}

/// CONNACK, SUBACK, a publication, a farewell.
fn session() -> Vec<u8> {
    let mut bytes = vec![3, 0x20, 3, 0, 0, 0, 0x90, 4, 0, 1, 0, 1];
    let topic = b"$muster/dev-1/control/down";
    bytes.extend([0x30, topic.len() as u8 + 6, 0, topic.len() as u8]);
    bytes.extend(topic);
    bytes.extend([0, 1, 2, 3]);
    bytes.extend([0xe0, 2, 0x98, 0]);
    bytes
}

const GENERATOR: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe,
    0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce,
    0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];
