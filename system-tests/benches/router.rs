//! QoS 1 under fan-in through the gateway's MQTT, over in-memory streams: no TLS, no sockets, one thread. The clients'
//! share is in the figure.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use muster_gateway::mqtt::{
    Admission, Denied, End, Gatekeeper, Limits, QUEUE_UNITS_MAX, Refusal, Rights, Router, SessionHandle, TopicFilter,
    Version, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Lets everybody do everything.
struct Open;

impl Gatekeeper for Open {
    type Peer = ();

    async fn admit(&self, (): &(), client_id: &str, _protocol: Version) -> Result<Admission, Refusal> {
        let everything = || vec![TopicFilter::new("#").unwrap()];
        Ok(Admission {
            client_id: client_id.to_owned(),
            rights: Rights::new(everything(), everything()),
            deadline: None,
            control_prefix: None,
            peer: client_id.to_owned(),
        })
    }

    async fn control(&self, _session: &SessionHandle, _topic: &str, _payload: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn published(&self, _session: &SessionHandle, _topic: &str, _payload: &[u8]) {}

    fn denied(&self, _session: &SessionHandle, _what: Denied, _topic: &str) {}

    async fn ended(&self, _session: &SessionHandle, _end: End) {}
}

/// A client of MQTT 5 on the other end of a stream. No packet here is longer than 127 bytes.
struct Client(BufStream<DuplexStream>);

impl Client {
    async fn connect(router: &Arc<Router>, client_id: &str) -> Self {
        let (near, far) = duplex(64 * 1024);
        let router = Arc::clone(router);
        tokio::spawn(async move { serve(far, (), Arc::new(Open), router, &Limits::default()).await });
        let mut client = Self(BufStream::new(near));
        let length = u8::try_from(client_id.len()).unwrap();
        let mut packet = vec![0x10, 13 + length];
        packet.extend(b"\0\x04MQTT\x05\x02\0\0\0\0");
        packet.push(length);
        packet.extend(client_id.as_bytes());
        client.send(&packet).await;
        let (head, body) = client.packet().await;
        assert_eq!((head, body[1]), (0x20, 0));
        client
    }

    async fn send(&mut self, packet: &[u8]) {
        self.0.write_all(packet).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.read_u8().await.unwrap();
        let mut body = vec![0; usize::from(self.0.read_u8().await.unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        (head, body)
    }

    async fn publish(mut self, messages: u64) {
        let mut packet = vec![0x32, 8 + PAYLOAD_BYTES];
        packet.extend(b"\0\x03d/t\0\x01\0");
        packet.extend([0; PAYLOAD_BYTES as usize]);
        let (mut sent, mut acknowledged) = (0, 0);
        while acknowledged < messages {
            while sent < messages && sent - acknowledged < WINDOW {
                packet[8] = u8::try_from(sent % WINDOW).unwrap() + 1;
                self.send(&packet).await;
                sent += 1;
            }
            assert_eq!(self.packet().await.0, 0x40);
            acknowledged += 1;
        }
    }

    async fn receive(mut self, messages: u64) {
        for _ in 0..messages {
            let (head, body) = self.packet().await;
            assert_eq!(head, 0x32);
            self.send(&[0x40, 2, body[5], body[6]]).await;
        }
    }
}

/// So many messages from 50 publishers to one subscriber; all of them arrive, or this does not end.
async fn fan_in(messages: u64) -> Duration {
    let router = Arc::new(Router::new(QUEUE_UNITS_MAX));
    let mut subscriber = Client::connect(&router, "subscriber").await;
    subscriber.send(b"\x82\x07\0\x01\0\0\x01#\x01").await;
    assert_eq!(subscriber.packet().await.0, 0x90);
    let each = messages.div_ceil(PUBLISHERS);
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        publishers.push(Client::connect(&router, &format!("p{number}")).await);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    tasks.spawn(subscriber.receive(each * PUBLISHERS));
    for publisher in publishers {
        tasks.spawn(publisher.publish(each));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    begun.elapsed().mul_f64(messages as f64 / (each * PUBLISHERS) as f64)
}

fn router(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("router");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("QoS 1 message, publishers", PUBLISHERS), |bench| {
        bench.iter_custom(|messages| runtime.block_on(fan_in(messages)));
    });
    group.finish();
}

const PUBLISHERS: u64 = 50;
const PAYLOAD_BYTES: u8 = 64;
const WINDOW: u64 = 16;

criterion_group!(benches, router);
criterion_main!(benches);
