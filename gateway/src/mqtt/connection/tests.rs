//! Whole connections over an in-memory stream, with packets made by hand. Time is tokio's paused clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use muster_protocol::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::super::{Denied, QoS, Rights, SessionHandle, TopicFilter, Version};
use super::*;

/// Lets in `d…` as devices and `s…` as services that may do anything; the peer must bear the same name.
struct Gate {
    router: Arc<Router>,
    events: mpsc::UnboundedSender<String>,
    /// Answers that come before the usual ones.
    refusals: Mutex<VecDeque<Option<Code>>>,
    expires_in: Option<Duration>,
    /// A permit for each control message that may be taken.
    control: Semaphore,
    /// Done once inside the first `admit`.
    meanwhile: Mutex<Option<Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce(&Router) + Send>;

impl Gatekeeper for Gate {
    type Peer = &'static str;

    async fn admit(&self, peer: &&'static str, client_id: &str, protocol: Version) -> Result<Admission, Refusal> {
        self.events.send(format!("admit {client_id} {}", protocol.name())).unwrap();
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile(&self.router);
        }
        if let Some(Some(code)) = self.refusals.lock().unwrap().pop_front() {
            return Err(Refusal { code });
        }
        if client_id != *peer {
            return Err(Refusal { code: Code::SessionClientId });
        }
        let every = || vec![TopicFilter::new("#").unwrap(), TopicFilter::new("$muster/#").unwrap()];
        let device = client_id.starts_with('d');
        Ok(Admission {
            client_id: client_id.into(),
            rights: if device { Rights::device(client_id).unwrap() } else { Rights::new(every(), every()) },
            deadline: self.expires_in.map(|left| now() + left),
            control_prefix: device.then(|| format!("$muster/{client_id}/control")),
            peer: format!("peer {peer}"),
        })
    }

    async fn control(&self, session: &SessionHandle, topic: &str, payload: &[u8]) -> Result<(), Refusal> {
        self.control.acquire().await.unwrap().forget();
        self.events.send(format!("control {} {topic} {}", session.client_id(), payload.len())).unwrap();
        let down = format!("$muster/{}/control/down", session.client_id());
        self.router.answer(session, &down, "welcome", QoS::AtLeastOnce);
        if payload == b"bad" { Err(Refusal { code: Code::MessageMalformed }) } else { Ok(()) }
    }

    fn published(&self, session: &SessionHandle, topic: &str, _payload: &[u8]) {
        self.events.send(format!("published {} {topic}", session.client_id())).unwrap();
    }

    fn denied(&self, session: &SessionHandle, what: Denied, topic: &str) {
        self.events.send(format!("denied {} {what:?} {topic}", session.client_id())).unwrap();
    }

    async fn ended(&self, session: &SessionHandle, end: End) {
        self.events.send(format!("ended {} {end:?}", session.client_id())).unwrap();
    }
}

struct World {
    router: Arc<Router>,
    gate: Arc<Gate>,
    events: mpsc::UnboundedReceiver<String>,
    limits: Limits,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {}, 256)
    }

    fn with(change: impl FnOnce(&mut Gate), queue_units_max: u32) -> Self {
        let router = Arc::new(Router::new(queue_units_max));
        let (sender, events) = mpsc::unbounded_channel();
        let mut gate = Gate {
            router: Arc::clone(&router),
            events: sender,
            refusals: Mutex::default(),
            expires_in: None,
            control: Semaphore::new(1000),
            meanwhile: Mutex::default(),
        };
        change(&mut gate);
        Self { router, gate: Arc::new(gate), events, limits: Limits::default() }
    }

    fn dial(&self, peer: &'static str) -> Client {
        self.dial_through(peer, 64 * 1024)
    }

    fn dial_through(&self, peer: &'static str, stream_bytes: usize) -> Client {
        let (near, far) = duplex(stream_bytes);
        let (gate, router, limits) = (Arc::clone(&self.gate), Arc::clone(&self.router), self.limits.clone());
        let task = tokio::spawn(async move { serve(far, peer, gate, router, &limits).await });
        Client { stream: near, task }
    }

    async fn connect(&self, peer: &'static str, version: Version) -> Client {
        let mut client = self.dial(peer);
        client.send(&connect(peer, version, &[])).await;
        let answer = client.receive().await;
        assert_eq!((answer[0], answer[3]), (0x20, 0x00), "{answer:x?}");
        client
    }

    async fn event(&mut self, wanted: &str) {
        loop {
            let event = self.events.recv().await.unwrap();
            if event == wanted {
                return;
            }
        }
    }

    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

struct Client {
    stream: DuplexStream,
    task: JoinHandle<End>,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next whole packet.
    async fn receive(&mut self) -> Vec<u8> {
        self.try_receive().await.expect("the stream ended")
    }

    async fn try_receive(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.stream.read_u8().await.ok()?];
        let mut len = 0;
        for shift in [0, 7, 14] {
            let byte = self.stream.read_u8().await.ok()?;
            packet.push(byte);
            len |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let head = packet.len();
        packet.resize(head + len, 0);
        self.stream.read_exact(&mut packet[head..]).await.ok()?;
        Some(packet)
    }

    /// Whether a packet is on its way: the gateway has had every chance to send one.
    async fn receives_nothing(&mut self) {
        let wait = tokio::time::timeout(Duration::from_millis(1), self.stream.read_u8());
        assert!(wait.await.is_err(), "something came");
    }

    async fn subscribe(&mut self, version: Version, filter: &str, qos: u8) {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        self.send(&packet(0x82, &[&[0, 1], properties, &text(filter), &[qos]])).await;
        assert_eq!(self.receive().await.last(), Some(&qos));
    }

    /// Reads to the end of the stream; what came last, and how the task ended.
    async fn end(mut self) -> (Option<Vec<u8>>, End) {
        let mut last = None;
        while let Some(packet) = self.try_receive().await {
            last = Some(packet);
        }
        drop(self.stream);
        (last, self.task.await.unwrap())
    }
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first];
    if body.len() > 127 {
        packet.push(0x80 | (body.len() % 128) as u8);
    }
    packet.push(if body.len() > 127 { (body.len() / 128) as u8 } else { body.len() as u8 });
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn connect(client_id: &str, version: Version, will: &[&[u8]]) -> Vec<u8> {
    let (level, properties): (u8, &[u8]) = if version == Version::V5 { (5, &[0]) } else { (4, &[]) };
    let flags = if will.is_empty() { 0x02 } else { 0x0E };
    let head = [&text("MQTT")[..], &[level, flags, 0, 60], properties, &text(client_id)].concat();
    packet(0x10, &[&head, &will.concat()])
}

fn publish(version: Version, topic: &str, packet_id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let id = packet_id.map(u16::to_be_bytes);
    let id: &[u8] = id.as_ref().map_or(&[], |id| id);
    packet(if packet_id.is_some() { 0x32 } else { 0x30 }, &[&text(topic), id, properties, payload])
}

/// Reason code and reason string of a DISCONNECT or a refusing CONNACK of version 5.
fn said(packet: &[u8]) -> (u8, String) {
    let body = &packet[2..];
    let body = if packet[0] == 0x20 { &body[1..] } else { body };
    let text = body.get(5..).map(|text| String::from_utf8_lossy(text).into_owned());
    (body[0], text.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn both_versions_talk_to_each_other() {
    let mut world = World::new();
    let mut old = world.connect("s1", Version::V311).await;
    let mut new = world.connect("s2", Version::V5).await;
    old.subscribe(Version::V311, "a/+", 1).await;
    new.subscribe(Version::V5, "b", 1).await;
    new.send(&publish(Version::V5, "a/x", Some(7), b"hello")).await;
    assert_eq!(old.receive().await, [&[0x32, 12, 0, 3][..], b"a/x", &[0, 1], b"hello"].concat());
    assert_eq!(new.receive().await, [0x40, 2, 0, 7]);
    old.send(&[0x40, 2, 0, 1]).await;
    old.send(&publish(Version::V311, "b", None, b"back")).await;
    assert_eq!(new.receive().await, [&[0x30, 8, 0, 1][..], b"b", &[0], b"back"].concat());
    new.send(&publish(Version::V5, "nobody", Some(8), b"")).await;
    assert_eq!(new.receive().await, [0x40, 3, 0, 8, 0x10]);
    for mut client in [old, new] {
        client.send(&[0xC0, 0, 0xE0, 0]).await;
        assert_eq!(client.end().await, (Some(vec![0xD0, 0]), End::Disconnected { reason: 0 }));
    }
    let sessions = world.router.sessions();
    assert_eq!((sessions.len(), world.router.subscriptions()), (0, 0));
    assert_eq!(world.router.metrics().connections_open.value(), 0);
    world.event("published s1 b").await;
}

#[tokio::test(start_paused = true)]
async fn packets_may_come_byte_by_byte_and_all_at_once() {
    let world = World::new();
    let mut client = world.dial("d1");
    let topic = "devices/d1/echo";
    let subscribe = packet(0x82, &[&[0, 1], &text(topic), &[0]]);
    let large = publish(Version::V311, topic, None, &[7; 9000]);
    let bytes = [&connect("d1", Version::V311, &[])[..], &subscribe, &large].concat();
    let (small, rest) = bytes.split_at(60);
    for byte in small {
        client.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    client.send(rest).await;
    assert_eq!(client.receive().await, [0x20, 2, 0, 0]);
    assert_eq!(client.receive().await, [0x90, 3, 0, 1, 0]);
    assert_eq!(client.receive().await, large);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_turned_away() {
    let world = World::new();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x10\xff\xff\x7f", b"\xc0\x00"] {
        let mut client = world.dial("d1");
        client.send(bytes).await;
        let (last, end) = client.end().await;
        assert!(last.is_none() && matches!(end, End::Protocol(_)), "{last:x?} {end:?}");
    }
    let mut client = world.dial("d1");
    client.send(&connect("d2", Version::V5, &[])).await;
    let (last, end) = client.end().await;
    assert_eq!(said(&last.unwrap()), (0x87, "session.client_id".into()));
    assert_eq!(end, End::Refused(Code::SessionClientId));
    let mut client = world.dial("d1");
    client.send(&connect("d2", Version::V311, &[])).await;
    assert_eq!(client.end().await.0, Some(vec![0x20, 2, 0, 5]));
    let mut client = world.dial("d1");
    client.send(b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x02d1").await;
    assert_eq!(client.end().await, (Some(vec![0x20, 2, 0, 1]), End::Unsupported));
    assert_eq!(world.router.metrics().sessions_started.value(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_at_its_deadline() {
    let world = World::new();
    let started = tokio::time::Instant::now();
    let mut client = world.dial("d1");
    client.send(&[0x10]).await;
    assert_eq!(client.end().await, (None, End::ConnectTimeout));
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn silence_and_the_end_of_the_certificate_end_a_session() {
    let mut world = World::new();
    let started = tokio::time::Instant::now();
    let client = world.connect("d1", Version::V5).await;
    let (last, end) = client.end().await;
    assert_eq!((said(&last.unwrap()).0, end, started.elapsed().as_secs()), (0x8D, End::KeepAliveTimeout, 90));
    world.event("ended d1 KeepAliveTimeout").await;

    let world = World::with(|gate| gate.expires_in = Some(Duration::from_secs(5)), 256);
    let started = tokio::time::Instant::now();
    let client = world.connect("d1", Version::V5).await;
    let (last, end) = client.end().await;
    assert_eq!((said(&last.unwrap()), end), ((0xA0, "certificate.expired".into()), End::Expired));
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn control_is_acknowledged_after_the_gateway_took_it_and_is_never_routed() {
    let mut world = World::with(|gate| gate.control = Semaphore::new(0), 256);
    let mut spy = world.connect("s1", Version::V311).await;
    spy.subscribe(Version::V311, "$muster/#", 0).await;
    let mut device = world.connect("d1", Version::V5).await;
    device.subscribe(Version::V5, "$muster/d1/control/down", 1).await;
    device.send(&publish(Version::V5, "$muster/d1/control/up", Some(3), b"hello")).await;
    device.receives_nothing().await;
    world.gate.control.add_permits(1);
    world.event("control d1 $muster/d1/control/up 5").await;
    let answers = [device.receive().await, device.receive().await];
    assert!(answers.iter().any(|packet| *packet == [0x40, 2, 0, 3]), "{answers:x?}");
    assert!(answers.iter().any(|packet| packet.ends_with(b"welcome")), "{answers:x?}");
    spy.receives_nothing().await;
    world.gate.control.add_permits(1);
    device.send(&publish(Version::V5, "$muster/d1/control/up", Some(4), b"bad")).await;
    let answers = [device.receive().await, device.receive().await];
    assert!(answers.iter().any(|packet| packet.starts_with(&[0x40]) && packet[4] == 0x83), "{answers:x?}");
}

#[tokio::test(start_paused = true)]
async fn acts_without_right_are_refused_and_reported() {
    let mut world = World::new();
    let mut spy = world.connect("s1", Version::V311).await;
    spy.subscribe(Version::V311, "#", 0).await;
    let mut device = world.connect("d1", Version::V5).await;
    device.send(&publish(Version::V5, "devices/d2/x", Some(1), b"")).await;
    let answer = device.receive().await;
    assert_eq!((answer[0], answer[4]), (0x40, 0x87));
    device.send(&packet(0x82, &[&[0, 2, 0], &text("devices/d2/#"), &[0]])).await;
    assert_eq!(device.receive().await, [0x90, 4, 0, 2, 0, 0x87]);
    spy.receives_nothing().await;
    world.event("denied d1 Publish devices/d2/x").await;
    world.event("denied d1 Subscribe devices/d2/#").await;
    let mut device = world.dial("d2");
    let will = [&[0][..], &text("devices/d1/gone"), &text("x")].concat();
    device.send(&connect("d2", Version::V5, &[&will])).await;
    assert_eq!(said(&device.end().await.0.unwrap()), (0x87, "session.topic_denied".into()));
    world.event("denied d2 Will devices/d1/gone").await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_says_why_and_closes_in_no_time() {
    let mut world = World::new();
    let started = tokio::time::Instant::now();
    let new = world.connect("d1", Version::V5).await;
    let old = world.connect("d2", Version::V311).await;
    assert!(world.router.cut("d1", Code::DeviceRevoked) && world.router.cut("d2", Code::DeviceSuspended));
    let (last, end) = new.end().await;
    assert_eq!((said(&last.unwrap()), end), ((0x98, "device.revoked".into()), End::Cut(Code::DeviceRevoked)));
    assert_eq!(old.end().await, (None, End::Cut(Code::DeviceSuspended)));
    assert_eq!(started.elapsed(), Duration::ZERO);
    world.event("ended d1 Cut(DeviceRevoked)").await;
    assert_eq!(world.router.sessions().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_does_not_wait_for_a_client_that_does_not_read() {
    let mut world = World::new();
    let mut client = world.dial_through("d1", 128);
    client.send(&connect("d1", Version::V311, &[])).await;
    client.receive().await;
    client.subscribe(Version::V311, "devices/d1/#", 0).await;
    let mut service = world.connect("s1", Version::V311).await;
    service.send(&publish(Version::V311, "devices/d1/in", Some(1), &[0; 1000])).await;
    service.receive().await;
    // The message is half written now.
    tokio::time::advance(Duration::from_millis(5)).await;
    let started = tokio::time::Instant::now();
    assert!(world.router.cut("d1", Code::DeviceRevoked));
    world.event("ended d1 Cut(DeviceRevoked)").await;
    assert!(started.elapsed() >= world.limits.close_deadline, "{:?}", started.elapsed());
    assert!(started.elapsed() <= world.limits.close_deadline + Duration::from_millis(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cut_while_a_client_is_admitted_is_not_missed() {
    let mut world = World::with(
        |gate| {
            gate.refusals = Mutex::new([None, Some(Code::DeviceRevoked)].into());
            gate.meanwhile = Mutex::new(Some(Box::new(|router| {
                assert!(!router.cut("d1", Code::DeviceRevoked));
            })));
        },
        256,
    );
    let mut client = world.dial("d1");
    client.send(&connect("d1", Version::V5, &[])).await;
    let (last, end) = client.end().await;
    assert_eq!((said(&last.unwrap()), end), ((0x87, "device.revoked".into()), End::Refused(Code::DeviceRevoked)));
    assert_eq!(world.events(), ["admit d1 5", "admit d1 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_takes_over_and_a_wrong_one_does_not() {
    let mut world = World::new();
    let first = world.connect("d1", Version::V5).await;
    let mut wrong = world.dial("d2");
    wrong.send(&connect("d1", Version::V5, &[])).await;
    assert_eq!(wrong.end().await.1, End::Refused(Code::SessionClientId));
    let epoch = world.router.session("d1").unwrap().handle.epoch();
    let mut second = world.connect("d1", Version::V5).await;
    let (last, end) = first.end().await;
    assert_eq!((said(&last.unwrap()).0, end), (0x8E, End::TakenOver));
    world.event("ended d1 TakenOver").await;
    second.send(&[0xC0, 0]).await;
    assert_eq!(second.receive().await, [0xD0, 0]);
    assert!(world.router.session("d1").unwrap().handle.epoch() > epoch);
}

#[tokio::test(start_paused = true)]
async fn publishers_are_held_back_until_the_subscriber_takes_their_messages() {
    let mut world = World::with(|_| {}, 1);
    world.limits.send_maximum = 1;
    let mut slow = world.connect("s1", Version::V311).await;
    slow.subscribe(Version::V311, "t", 1).await;
    let mut fast = world.connect("s2", Version::V311).await;
    for id in 1..=4 {
        fast.send(&publish(Version::V311, "t", Some(id), b"x")).await;
    }
    assert_eq!(fast.receive().await, [0x40, 2, 0, 1]);
    assert_eq!(fast.receive().await, [0x40, 2, 0, 2]);
    fast.receives_nothing().await;
    assert_eq!(world.router.metrics().publishes_waiting.value(), 1);
    for id in 1..=4 {
        let packet = slow.receive().await;
        slow.send(&[0x40, 2, packet[5], packet[6]]).await;
        if id > 2 {
            assert_eq!(fast.receive().await, [0x40, 2, 0, id]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_never_acknowledges_is_ended_and_its_publishers_go_on() {
    let mut world = World::with(|_| {}, 1);
    world.limits.send_maximum = 1;
    let mut slow = world.connect("s1", Version::V5).await;
    slow.subscribe(Version::V5, "t", 1).await;
    let mut fast = world.connect("s2", Version::V311).await;
    for id in 1..=3 {
        fast.send(&publish(Version::V311, "t", Some(id), b"x")).await;
    }
    let (last, end) = slow.end().await;
    assert_eq!((said(&last.unwrap()).0, end), (0x97, End::NotAcknowledging));
    for id in 1..=3 {
        assert_eq!(fast.receive().await, [0x40, 2, 0, id]);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_publish_to_each_other_do_not_wait_for_each_other() {
    let mut world = World::with(|_| {}, 1);
    world.limits.send_maximum = 1;
    let mut clients = [world.connect("s1", Version::V5).await, world.connect("s2", Version::V5).await];
    for (client, own) in clients.iter_mut().zip(["to/1", "to/2"]) {
        client.subscribe(Version::V5, own, 1).await;
    }
    for (client, other) in clients.iter_mut().zip(["to/2", "to/1"]) {
        for id in 1..=20 {
            client.send(&publish(Version::V5, other, Some(id), b"x")).await;
        }
    }
    let [one, two] = clients;
    let play = |mut client: Client| async move {
        let (mut acknowledged, mut received) = (0, 0);
        while acknowledged < 20 || received < 20 {
            let packet = client.receive().await;
            if packet[0] == 0x40 {
                acknowledged += 1;
            } else {
                received += 1;
                client.send(&[0x40, 2, packet[8], packet[9]]).await;
            }
        }
    };
    tokio::join!(play(one), play(two));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_and_holds_nobody() {
    let mut world = World::new();
    let mut slow = world.dial_through("s1", 64);
    slow.send(&connect("s1", Version::V311, &[])).await;
    slow.receive().await;
    slow.subscribe(Version::V311, "t", 0).await;
    let mut fast = world.connect("s2", Version::V311).await;
    fast.send(&publish(Version::V311, "t", Some(1), &[0; 500])).await;
    fast.receive().await;
    world.event("ended s1 SlowReader").await;
    assert_eq!(slow.task.await.unwrap(), End::SlowReader);
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_at_an_abnormal_end_only() {
    let world = World::new();
    let mut watcher = world.connect("s1", Version::V311).await;
    watcher.subscribe(Version::V311, "devices/+/gone", 1).await;
    let will = [&text("devices/d1/gone")[..], &text("bye")].concat();
    for normal in [true, false] {
        let mut client = world.dial("d1");
        client.send(&connect("d1", Version::V311, &[&will])).await;
        client.receive().await;
        if normal {
            client.send(&[0xE0, 0]).await;
            client.end().await;
            watcher.receives_nothing().await;
        } else {
            drop(client);
            assert!(watcher.receive().await.ends_with(b"bye"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_published_just_before_goodbye_arrives() {
    let world = World::new();
    let mut watcher = world.connect("s1", Version::V311).await;
    watcher.subscribe(Version::V311, "devices/#", 0).await;
    let mut client = world.dial("d1");
    let messages: Vec<u8> = (0..40).flat_map(|n| publish(Version::V311, "devices/d1/n", None, &[n])).collect();
    client.send(&[&connect("d1", Version::V311, &[])[..], &messages, &[0xE0, 0]].concat()).await;
    drop(client);
    for n in 0..40 {
        assert_eq!(watcher.receive().await.last(), Some(&n));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_ends_all_and_lets_nobody_in() {
    let world = World::new();
    let client = world.connect("d1", Version::V5).await;
    world.router.shut_down();
    assert_eq!(said(&client.end().await.0.unwrap()), (0x8B, "session.draining".into()));
    let mut late = world.dial("d2");
    late.send(&connect("d2", Version::V5, &[])).await;
    assert_eq!(late.end().await.1, End::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_task_leaves_nothing_behind() {
    let world = World::new();
    let mut client = world.connect("d1", Version::V5).await;
    client.subscribe(Version::V5, "devices/d1/#", 0).await;
    client.task.abort();
    assert!(client.task.await.unwrap_err().is_cancelled());
    assert_eq!((world.router.sessions().len(), world.router.subscriptions()), (0, 0));
    assert_eq!(world.router.metrics().connections_open.value(), 0);
}

#[test]
fn a_connection_is_small() {
    let own = size_of::<Connection<'_, DuplexStream, Gate>>() - size_of::<DuplexStream>();
    assert!(own <= 832, "{own}");
}
