//! Every attack before the handshake is over: refused by name, within the deadline, without a panic, and before a key
//! was used or a byte of application data was sent.

use std::cell::Cell;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use muster_agent_nostd::tls::{Buffers, GuardError};
use muster_system_tests::corpus::{CorpusKey, NAME, NOW, World, server_cases};
use muster_system_tests::rogue::tls::{HANDSHAKE, Hello};
use muster_system_tests::rogue::{Attack, Material, Tls, attacks};

use crate::device::Device;

/// A chain that devices of the corpus accept, with its key.
pub(crate) fn material() -> Material {
    static MADE: LazyLock<Material> = LazyLock::new(|| {
        let case = server_cases(&World::new()).into_iter().next().unwrap();
        Material { chain: case.chain, key: case.key }
    });
    MADE.clone()
}

/// Runs `serve` for one connection on a thread of its own, then reads what the client still sends.
pub(crate) fn serve(
    serve: impl FnOnce(&mut Tls<TcpStream>) -> std::io::Result<()> + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut received = Vec::new();
        let Ok(mut tls) = Tls::accept(socket) else { return received };
        // The client may hang up in the middle of an attack.
        let _ = serve(&mut tls);
        let _ = tls.raw().read_to_end(&mut received);
        received
    });
    (address, server)
}

const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_FOR_SILENCE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn every_attack_is_refused_by_name_before_a_key_is_used() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    let attacks = attacks::<TcpStream>();
    eprintln!("{} attacks", attacks.len());
    assert!(attacks.len() >= 90);
    for attack in attacks {
        let answered_bytes = attack.answered_bytes();
        let Attack { name, run, ends } = attack;
        let material = material();
        let (address, server) = serve(move |tls| run(tls, &material));
        let patience = if ends == GuardError::Timeout { PATIENCE_FOR_SILENCE } else { PATIENCE };
        let device = Device {
            name: NAME,
            gateway_cas: &world.gateway_cas(),
            now: NOW,
            certificate: b"a certificate",
            key: key.pair(),
            patience_millis: patience.as_millis() as u64,
            signed: Cell::new(0),
        };
        let began = Instant::now();
        let ended = device.connect(address, &mut buffers).await.map(|_| ()).unwrap_err();
        let took = began.elapsed();
        assert_eq!(ended, ends, "{name}");
        assert!(took < patience + Duration::from_millis(500), "{name}: {took:?}");
        assert_eq!(device.signed.get(), 0, "{name}: the key signed");
        let received = server.join().unwrap();
        assert_eq!(received.len(), answered_bytes, "{name}");
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_no_gateway_at_any_point() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    for cut in [0, 1, 4, 5, 6, 60, 122, 127, 130, 400] {
        let material = material();
        let (address, server) = serve(move |tls| {
            let mut bytes = Vec::new();
            let hello = tls.hello(&Hello::default());
            bytes.extend([22, 3, 3, 0, hello.len() as u8]);
            bytes.extend(hello);
            let flight = [tls.extensions(&[]), tls.request(&[]), tls.certificate(&material.chain)].concat();
            bytes.extend(tls.seal(&[&flight[..], &[HANDSHAKE]].concat())?);
            std::io::Write::write_all(tls.raw(), &bytes[..cut])?;
            tls.raw().shutdown(std::net::Shutdown::Write)
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
        let ended = device.connect(address, &mut buffers).await.map(|_| ()).unwrap_err();
        assert_eq!(ended, GuardError::Broken, "{cut}");
        assert_eq!(server.join().unwrap(), b"");
    }
}
