//! What whoever has the gateway's key can still do after a good handshake: nothing that makes the device panic, and
//! nothing that it takes for data.

use std::cell::Cell;
use std::net::TcpStream;
use std::sync::mpsc;

use embedded_io_async::{Read as _, Write as _};
use muster_agent_nostd::tls::{Buffers, GuardError};
use muster_system_tests::corpus::{CorpusKey, NAME, NOW, World};
use muster_system_tests::rogue::tls::DATA;
use muster_system_tests::rogue::{LateAttack, late_attacks, shake_hands};

use crate::device::Device;
use crate::servers::{material, serve};

#[tokio::test]
async fn every_attack_of_an_authenticated_peer_ends_the_connection_by_name() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    for LateAttack { name, run, ends: (data, end) } in late_attacks::<TcpStream>() {
        let material = material();
        let (tell, told) = mpsc::channel();
        let (address, server) = serve(move |tls| {
            let established = shake_hands(tls, &material)?;
            let flight = tls.read_flight(&established)?;
            tell.send(flight).unwrap();
            tls.sealed(DATA, b"first")?;
            run(tls)
        });
        let device = Device {
            name: NAME,
            gateway_cas: &world.gateway_cas(),
            now: NOW,
            certificate: b"a certificate",
            key: key.pair(),
            patience_millis: 5000,
            signed: Cell::new(0),
        };
        let (mut stream, gateway) = device.connect(address, &mut buffers).await.unwrap();
        assert_eq!(gateway.public_key(), CorpusKey::new(100).public(), "{name}");
        assert_eq!(device.signed.get(), 1, "{name}");
        let (mut read, mut piece) = (Vec::<u8>::new(), [0; 7]);
        let ended = loop {
            match stream.read(&mut piece).await {
                Ok(0) => break None,
                Ok(count) => read.extend(&piece[..count]),
                Err(error) => break Some(error),
            }
        };
        assert_eq!((&read[..], ended), (data, end), "{name}");
        // It stays what it is, and nothing goes out any more.
        match end {
            None => assert_eq!(stream.read(&mut piece).await.unwrap(), 0, "{name}"),
            Some(error) => assert_eq!(stream.read(&mut piece).await.unwrap_err(), error, "{name}"),
        }
        assert_eq!(stream.write(b"x").await.unwrap_err(), end.unwrap_or(GuardError::Closed), "{name}");
        drop(stream);
        let flight = told.recv().unwrap();
        let kinds: Vec<_> = flight.iter().map(|message| message[0]).collect();
        assert_eq!(kinds, [11, 15, 20], "{name}");
        assert_eq!(server.join().unwrap(), b"", "{name}: the device sent something");
    }
}

#[tokio::test]
async fn a_connection_carries_data_both_ways_and_ends_with_a_goodbye() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    let material = material();
    let (address, server) = serve(move |tls| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established)?;
        let mut echoed = 0;
        while echoed < 5000 {
            let (kind, content) = tls.read_sealed()?;
            assert_eq!(kind, DATA);
            echoed += content.len();
            for piece in content.chunks(300) {
                tls.sealed(DATA, piece)?;
            }
        }
        let (kind, goodbye) = tls.read_sealed()?;
        assert_eq!((kind, &goodbye[..]), (21, &[1, 0][..]));
        Ok(())
    });
    let device = Device {
        name: NAME,
        gateway_cas: &world.gateway_cas(),
        now: NOW,
        certificate: b"a certificate",
        key: key.pair(),
        patience_millis: 5000,
        signed: Cell::new(0),
    };
    let (mut stream, _) = device.connect(address, &mut buffers).await.unwrap();
    let sent: Vec<u8> = (0..5000_u32).map(|number| (number * 7) as u8).collect();
    stream.write_all(&sent).await.unwrap();
    stream.flush().await.unwrap();
    let (mut read, mut piece) = (Vec::<u8>::new(), [0; 512]);
    while read.len() < sent.len() {
        let count = stream.read(&mut piece).await.unwrap();
        read.extend(&piece[..count]);
    }
    assert_eq!(read, sent);
    stream.close().await;
    assert_eq!(server.join().unwrap(), b"");
}

#[tokio::test]
async fn a_key_that_does_not_sign_ends_the_handshake_and_not_the_device() {
    use embassy_time::{Duration, Instant};
    use muster_agent_nostd::tls::{Credential, Expected, connect};
    use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock};

    let world = World::new();
    let mut buffers = Box::new(Buffers::new());
    let material = material();
    let (address, server) = serve(move |tls| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established).map(|_| ())
    });
    let socket = crate::device::Socket(tokio::net::TcpStream::connect(address).await.unwrap());
    let expected = Expected {
        name: NAME,
        gateway_cas: &world.gateway_cas(),
        clock: GatewayClock { floor: NOW, civil: None },
        algorithm: ECDSA_P256_SHA256,
    };
    let credential = Credential { certificate: b"a certificate", sign: &mut |_| None };
    let deadline = Instant::now() + Duration::from_secs(5);
    let ended = connect(socket, &mut buffers, &expected, credential, &mut rand_core::OsRng, deadline).await;
    assert_eq!(ended.map(|_| ()).unwrap_err(), GuardError::Key);
    assert_eq!(server.join().unwrap(), b"");
}
