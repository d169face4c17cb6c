//! A good flight with bytes changed before they are sealed, and anything at all inside a record after the handshake: with
//! the right keys, so that it gets past the tags. The same ones in every run.

use std::cell::Cell;
use std::net::TcpStream;

use embedded_io_async::Read as _;
use muster_agent_nostd::tls::Buffers;
use muster_system_tests::corpus::{CorpusKey, NAME, NOW, World};
use muster_system_tests::random::Random;
use muster_system_tests::rogue::attack::greet;
use muster_system_tests::rogue::tls::{DATA, ECDSA_P256, HANDSHAKE, SERVER_CONTEXT, Tls};
use muster_system_tests::rogue::{Material, shake_hands};

use crate::device::Device;
use crate::servers::{material, serve};

const FLIGHTS: u64 = 300;
const RECORDS: u64 = 120;

#[tokio::test]
async fn no_changed_flight_is_a_handshake() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    for seed in 0..FLIGHTS {
        let material = material();
        let (address, server) = serve(move |tls| {
            greet(tls)?;
            let mut random = Random::new(seed);
            let flight = flight(tls, &material);
            let mut changed = flight.clone();
            while changed == flight {
                (0..random.between(1, 3)).for_each(|_| change(&mut changed, &mut random));
            }
            // Whole, or cut anywhere.
            let cut = if random.happens(250) { random.below(changed.len() as u64) as usize } else { 0 };
            tls.sealed(HANDSHAKE, &changed[cut..])?;
            if cut > 0 { tls.sealed(HANDSHAKE, &changed[..cut]) } else { Ok(()) }
        });
        let device = device(&key, 150);
        let cas = world.gateway_cas();
        let device = Device { gateway_cas: &cas, ..device };
        let ended = device.connect(address, &mut buffers).await.map(|_| ());
        assert!(ended.is_err(), "flight {seed}");
        assert_eq!(device.signed.get(), 0, "flight {seed}: the key signed");
        assert!(server.join().unwrap().len() <= 7, "flight {seed}: something was sent");
    }
}

#[tokio::test]
async fn anything_inside_a_record_is_data_or_the_end() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    for seed in 0..RECORDS {
        let material = material();
        let (address, server) = serve(move |tls: &mut Tls<TcpStream>| {
            let established = shake_hands(tls, &material)?;
            tls.read_flight(&established)?;
            let mut random = Random::new(seed);
            for _ in 0..8 {
                let length = random.below(40) as usize;
                let mut inner: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                if random.happens(700) {
                    inner.push(*random.pick(&[DATA, DATA, HANDSHAKE, 21, 20, 24, 0]));
                }
                tls.inner(&inner)?;
            }
            Ok(())
        });
        let device = device(&key, 5000);
        let cas = world.gateway_cas();
        let device = Device { gateway_cas: &cas, ..device };
        let (mut stream, _) = device.connect(address, &mut buffers).await.unwrap();
        let (mut read, mut piece) = (0, [0; 16]);
        // A timeout is an end as well: what came was data, and more may follow.
        let reading = async {
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                read += count;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), reading).await;
        assert!(read <= 8 * 40, "records {seed}");
        drop(stream);
        assert_eq!(server.join().unwrap(), b"", "records {seed}: something was sent");
    }
}

fn flight(tls: &mut Tls<TcpStream>, material: &Material) -> Vec<u8> {
    let before = [tls.extensions(&[]), tls.request(&[]), tls.certificate(&material.chain)].concat();
    let proof = tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256);
    let finished = tls.finished();
    [before, proof, finished].concat()
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(6) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        3 => bytes.insert(at, random.next() as u8),
        4 => bytes.truncate(at.max(1)),
        _ => {
            // Lengths stand at the front of messages: there it hurts most.
            let front = random.below(40.min(bytes.len() as u64)) as usize;
            bytes[front] = random.next() as u8;
        }
    }
}

fn device(key: &CorpusKey, patience_millis: u64) -> Device<'_> {
    Device {
        name: NAME,
        gateway_cas: &[],
        now: NOW,
        certificate: b"a certificate",
        key: key.pair(),
        patience_millis,
        signed: Cell::new(0),
    }
}
