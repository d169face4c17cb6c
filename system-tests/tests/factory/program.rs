//! The real `muster-provision` over TCP, with the board's real loop at the other end: killed, unplugged, run to the end;
//! its manifest goes into a real gateway and its certificates to openssl.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use muster_agent_nostd::factory::{About, Factory, FlashStore, serve, serve_locked};
use muster_agent_nostd::slots::{Slots, partition_bytes};
use muster_provisioning::station::{Done, How};
use muster_system_tests::live::{Options, Said, World, bin_dir};
use muster_system_tests::random::Random;
use serde_json::Value;

use crate::board::{Board, Lock, PRODUCT, Seeded};
use crate::nor::{Chip, Nor, Torn};
use crate::place::Place;
use crate::world::check;

type Flash = Nor<8, 8, 4096>;

/// What a board keeps without power.
#[derive(Clone)]
struct Kept {
    chip: Chip,
    locked: bool,
}

/// A board on a TCP port, as an emulator's serial line: it runs on when nobody is connected.
struct Served {
    port: u16,
    kept: Arc<Mutex<Kept>>,
    stop: Arc<AtomicBool>,
    /// Bytes heard so far.
    heard: Arc<AtomicU32>,
    /// Killed when so many bytes were heard.
    victim: Arc<Mutex<Option<(u32, Child)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn blank(seed: u64, cuts: Vec<u64>) -> Self {
        let flash = Flash::new(partition_bytes::<Flash>() as usize);
        let kept = Arc::new(Mutex::new(Kept { chip: flash.chip(), locked: false }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, heard, victim) = (Arc::default(), Arc::default(), Arc::default());
        let thread = std::thread::spawn({
            let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
            let (heard, victim) = (Arc::clone(&heard), Arc::clone(&victim));
            // A flash lives in one thread: the line that watches it is made there.
            move || run(Line { listener, stream: None, stop, heard, victim, flash: None }, &kept, seed, cuts)
        });
        Self { port, kept, stop, heard, victim, thread: Some(thread) }
    }

    /// Turns it off; what it keeps goes into a board that can be looked at.
    fn into_board(mut self) -> Board<8> {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().unwrap().join().unwrap();
        let kept = self.kept.lock().unwrap().clone();
        let mut board = Board::<8>::blank(0);
        board.flash = Flash::of(kept.chip);
        board.lock.0.set(kept.locked);
        board
    }
}

/// Boots as often as it is turned on; each cut counts words programmed since the boot.
fn run(mut line: Line, kept: &Mutex<Kept>, seed: u64, cuts: Vec<u64>) {
    let about = About {
        product: PRODUCT.try_into().unwrap(),
        board: "served".try_into().unwrap(),
        agent: "0.1.0".try_into().unwrap(),
    };
    let mut rng = Seeded(seed);
    let mut cuts = cuts.into_iter();
    while !line.stop.load(Ordering::SeqCst) {
        let (flash, mut lock) = {
            let kept = kept.lock().unwrap();
            let lock = Lock::default();
            lock.0.set(kept.locked);
            (Flash::of(kept.chip.clone()), lock)
        };
        flash.power_back();
        if let Some(cut) = cuts.next() {
            flash.cut_after(cut, Torn::Mixed);
        }
        boot(&mut line, flash.clone(), &mut lock, &about, &mut rng);
        *kept.lock().unwrap() = Kept { chip: flash.chip(), locked: lock.0.get() };
    }
}

/// From one start to the next.
fn boot(line: &mut Line, flash: Flash, lock: &mut Lock, about: &About, rng: &mut Seeded) {
    line.flash = Some(flash.clone());
    let Ok(mut slots) = Slots::open(flash, 0) else { return };
    let mut store = FlashStore::new(&mut slots, lock);
    let mut factory = Factory::new(about.clone());
    let Ok(hello) = factory.begin(&mut store) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _ = runtime.block_on(async {
        match &hello {
            None => serve(line, &mut factory, &mut store, rng).await,
            Some(hello) => serve_locked(line, hello).await,
        }
    });
}

/// The board's end of the line. Without a peer, what is said is lost and nothing comes.
struct Line {
    listener: TcpListener,
    stream: Option<TcpStream>,
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU32>,
    victim: Arc<Mutex<Option<(u32, Child)>>>,
    flash: Option<Flash>,
}

impl Line {
    /// Turned off, by the test or by a cut.
    fn is_off(&self) -> bool {
        let is_dark = self.flash.as_ref().is_some_and(crate::board::is_dark);
        is_dark || self.stop.load(Ordering::SeqCst)
    }
}

impl embedded_io_async::ErrorType for Line {
    type Error = embedded_io_async::ErrorKind;
}

impl embedded_io_async::Read for Line {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        loop {
            if self.is_off() {
                return Ok(0);
            }
            let Some(stream) = &mut self.stream else {
                if let Ok((stream, _)) = self.listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    self.stream = Some(stream);
                }
                continue;
            };
            match stream.read(buffer) {
                Ok(read @ 1..) => {
                    let heard = self.heard.fetch_add(read as u32, Ordering::SeqCst) + read as u32;
                    let mut victim = self.victim.lock().unwrap();
                    if victim.as_ref().is_some_and(|(at, _)| heard >= *at)
                        && let Some((_, mut child)) = victim.take()
                    {
                        child.kill().unwrap();
                        child.wait().unwrap();
                    }
                    return Ok(read);
                }
                _ => self.stream = None,
            }
        }
    }
}

impl embedded_io_async::Write for Line {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        if self.is_off() {
            return Err(embedded_io_async::ErrorKind::BrokenPipe);
        }
        // Text of the log, in the middle of everything.
        let said =
            self.stream.as_mut().map(|stream| stream.write_all(b"[boot] \r\n").and_then(|()| stream.write_all(bytes)));
        if said.is_some_and(|said| said.is_err()) {
            self.stream = None;
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn station(place: &Place, port: u16) -> Command {
    patient(place, port, 20)
}

fn patient(place: &Place, port: u16, secs: u32) -> Command {
    let mut command = Command::new(bin_dir().unwrap().join("muster-provision"));
    command.args(["station", "--json", "--product", PRODUCT, "--patience", &secs.to_string()]);
    command.arg("--link").arg(format!("tcp:127.0.0.1:{port}")).arg("--pki").arg(place.pki());
    command.arg("--out").arg(place.out()).arg("--fleet").arg(place.fleet());
    command
}

/// Runs the station until it is done: exit 0, or the board says that it was.
fn finish(place: &Place, port: u16) -> Said {
    Said::by(&mut station(place, port)).unwrap()
}

fn code(said: &Said) -> String {
    serde_json::from_str::<Value>(said.err.lines().last().unwrap_or("{}")).unwrap_or_default()["code"].to_string()
}

fn hold(place: &Place, served: Served, device: &str) {
    let mut board = served.into_board();
    let (_, key, ..) = board.look();
    let device = muster_protocol::DeviceId::new(device).unwrap();
    check(place, &mut board, &Done { device, public_key: key.unwrap(), how: How::Made });
}

#[test]
fn the_program_makes_a_device_and_tells_one_that_is_done() {
    let place = Place::new();
    let served = Served::blank(1, vec![]);
    let said = finish(&place, served.port).done().unwrap();
    let record: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&record["device"], &record["how"]), (&"lamp-000001".into(), &"made".into()));
    let again = finish(&place, served.port);
    assert_eq!((again.code, code(&again).as_str()), (3, "\"factory.locked\""), "{}", again.err);
    let named = Said::by(station(&place, served.port).args(["--device-id", "lamp-000001"])).unwrap().done().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&named.out).unwrap()["how"], "already");
    hold(&place, served, "lamp-000001");
}

#[test]
fn the_program_is_killed_wherever_the_board_hears_it() {
    // How much a board hears in its way to a device.
    let whole = {
        let place = Place::new();
        let served = Served::blank(2, vec![]);
        finish(&place, served.port).done().unwrap();
        served.heard.load(Ordering::SeqCst)
    };
    let mut random = Random::new(3);
    for at in (1..whole).step_by(45).collect::<Vec<_>>() {
        let place = Place::new();
        let served = Served::blank(u64::from(at), vec![]);
        for _ in 0..1 + random.below(2) {
            let child = station(&place, served.port).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let at = served.heard.load(Ordering::SeqCst) + at;
            *served.victim.lock().unwrap() = Some((at, child));
            // Killed by the board, or done before it heard that much.
            loop {
                let mut victim = served.victim.lock().unwrap();
                match victim.as_mut().map(|(_, child)| child.try_wait().unwrap()) {
                    None => break,
                    Some(Some(_)) => {
                        victim.take();
                        break;
                    }
                    Some(None) => {}
                }
                drop(victim);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let said = finish(&place, served.port);
        let was_done = said.code == 3 && code(&said) == "\"factory.locked\"";
        assert!(said.code == 0 || was_done, "at {at}: {} {}", said.code, said.err);
        let made = "lamp-000001";
        hold(&place, served, made);
    }
}

#[test]
fn the_program_is_killed_at_any_moment_and_the_board_too() {
    let mut random = Random::new(4);
    for round in 0..40 {
        let place = Place::new();
        let cuts = (0..random.below(4)).map(|_| random.below(200)).collect();
        let served = Served::blank(1000 + round, cuts);
        let said = loop {
            let mut child = station(&place, served.port).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            if random.happens(700) {
                child.kill().unwrap();
                child.wait().unwrap();
                continue;
            }
            let output = child.wait_with_output().unwrap();
            break Said {
                code: output.status.code().unwrap(),
                out: String::from_utf8(output.stdout).unwrap(),
                err: String::from_utf8(output.stderr).unwrap(),
            };
        };
        let was_done = said.code == 3 && code(&said) == "\"factory.locked\"";
        assert!(said.code == 0 || was_done, "round {round}: {} {}", said.code, said.err);
        let ledger = muster_provisioning::ledger::Ledger::open(&place.pki()).unwrap();
        let board = served;
        let names: Vec<_> = std::fs::read_dir(place.out())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".crt").map(str::to_owned))
            .collect();
        let [name] = names.as_slice() else { panic!("round {round}: {names:?}") };
        assert!(ledger.book().device(name).is_some());
        hold(&place, board, name);
    }
}

#[test]
fn boards_come_one_after_the_other_until_the_lot_is_full() {
    let place = Place::new();
    let first = Served::blank(5, vec![]);
    let listener_port = first.port;
    // A line that is moved from board to board: the station sees one port.
    let second = Served::blank(6, vec![]);
    let moved = Arc::new(AtomicU32::new(u32::from(listener_port)));
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = front.local_addr().unwrap().port();
    let to = Arc::clone(&moved);
    std::thread::spawn(move || {
        for stream in front.incoming() {
            let Ok(stream) = stream else { return };
            let Ok(board) = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst) as u16)) else { continue };
            let at = to.load(Ordering::SeqCst);
            forward(stream, board, move |to| to == at, Arc::clone(&to));
        }
    });
    let mut child = station(&place, port).args(["--count", "2"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = io::BufRead::lines(io::BufReader::new(child.stdout.take().unwrap()));
    let one: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    moved.store(u32::from(second.port), Ordering::SeqCst);
    let two: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((&one["device"], &two["device"]), (&"lamp-000001".into(), &"lamp-000002".into()));
    hold(&place, first, "lamp-000001");
    hold(&place, second, "lamp-000002");
    let again = Said::by(station(&place, port).args(["--count", "2"])).unwrap();
    assert_eq!(again.code, 0, "a full lot needs no board: {}", again.err);
}

/// Copies both ways until one end closes or the line is moved to another board.
fn forward(station: TcpStream, board: TcpStream, is_still: impl Fn(u32) -> bool + Send + 'static, to: Arc<AtomicU32>) {
    for (mut from, mut into) in [
        (station.try_clone().unwrap(), board.try_clone().unwrap()),
        (board.try_clone().unwrap(), station.try_clone().unwrap()),
    ] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut into);
            let _ = into.shutdown(Shutdown::Both);
        });
    }
    std::thread::spawn(move || {
        while is_still(to.load(Ordering::SeqCst)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = station.shutdown(Shutdown::Both);
        let _ = board.shutdown(Shutdown::Both);
    });
}

#[test]
fn nobody_on_the_line_and_no_line_are_told_apart() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let said = Said::by(&mut patient(&place, port, 2)).unwrap();
    assert_eq!((said.code, code(&said).as_str()), (1, "\"station.silent\""), "{}", said.err);
    drop(silent);
    let said = Said::by(&mut patient(&place, port, 1)).unwrap();
    assert_eq!((said.code, code(&said).as_str()), (1, "\"station.line\""), "{}", said.err);
    let said = Said::by(station(&place, port).args(["--count", "1", "--device-id", "x"])).unwrap();
    assert_eq!(said.code, 2);
}

#[test]
fn the_manifest_goes_into_a_gateway_and_the_identity_to_openssl() {
    let mut world = World::empty(Options::default()).unwrap();
    world.init_factory().unwrap();
    world.init_gateway().unwrap();
    world.start_gateway().unwrap();
    world.gateway(&["factory-ca", "add", &world.text("pki/factory-ca.crt")]).unwrap();
    let (pki, out, fleet) = (world.text("pki"), world.text("lot"), world.text("gateway/fleet.muster"));
    let manifest = world.text("lot/manifest.muster");
    for number in 1..=2 {
        let served = Served::blank(number, vec![40]);
        let link = format!("tcp:127.0.0.1:{}", served.port);
        let arguments = ["station", "--json", "--link", &link, "--pki", &pki, "--out", &out, "--fleet", &fleet];
        let said = world.provision(&[&arguments[..], &["--product", PRODUCT, "--lot", "47"]].concat()).unwrap();
        let record: Value = serde_json::from_str(&said.done().unwrap().out).unwrap();
        let device = record["device"].as_str().unwrap();
        assert_eq!(device, format!("lamp-47-{number:06}"));

        world
            .provision(&["manifest", "verify", &manifest, "--factory-ca", &world.text("pki/factory-ca.crt")])
            .unwrap()
            .done()
            .unwrap();
        // After each device: what is there stays, what is new comes in.
        world.gateway(&["manifest", "import", &manifest]).unwrap();
        let shown = world.gateway(&["device", "show", device]).unwrap();
        assert_eq!((&shown["id"], &shown["standing"]), (&device.into(), &"expected".into()), "{shown}");

        let certificate = record["certificate"].as_str().unwrap();
        let verified = Said::by(
            Command::new("openssl")
                .args(["verify", "-x509_strict", "-CAfile"])
                .arg(world.path("pki/factory-root.crt"))
                .args(["-untrusted"])
                .arg(world.path("pki/issuing-ca.crt"))
                .arg(certificate),
        )
        .unwrap();
        assert!(verified.code == 0 && verified.out.contains("OK"), "{}{}", verified.out, verified.err);
        served.into_board();
    }
}
