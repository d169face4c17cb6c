//! The fuzz targets of `agent-nostd/fuzz`, for a bounded time: mutations of good inputs, the same ones in every run.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../protocol/fuzz/src/drive.rs"]
mod drive;
#[allow(unreachable_pub)] // A crate of its own for libFuzzer.
#[path = "../../fuzz/src/lib.rs"]
pub(crate) mod targets;

/// Mutations of each target's seeds: a few seconds for all of them. A handshake draws a key pair each time.
const ROUNDS: u32 = 400;

#[test]
fn nothing_that_a_peer_or_a_flash_holds_makes_the_device_panic() {
    for (name, target) in targets::TARGETS {
        let rounds = if matches!(*name, "mqtt" | "slots") { 10 * ROUNDS } else { ROUNDS };
        drive::drive(*target, &seeds(name), rounds);
    }
}

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
        "mqtt" => vec![connack(0x00, "session.busy"), connack(0x87, "device.suspended"), session()],
        "slots" => vec![vec![0xff; 700], vec![0; 700], (0..3500_u32).map(|at| (at * 7) as u8).collect()],
        other => panic!("no seeds for {other}"),
    }
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
