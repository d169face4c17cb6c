//! What an acknowledged QoS 1 message costs when many publish to one: processor time of the server for a message, and how
//! many of the acknowledged ones arrive. Publishers send as fast as they are acknowledged, each message in a record of its
//! own, as devices do.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Credential, Dialer, Group, Session, puback, publish, published};
use super::peer::Peer;
use super::process::Meter;
use super::{Size, median, rounded};

/// What came of one round.
struct Round {
    acknowledged: u64,
    delivered: u64,
    elapsed: Duration,
}

/// For each broker: cost of a message in the middle round, and what was not delivered in all of them.
pub(crate) async fn measure(
    peers: &[&Peer],
    dialer: &Dialer,
    service: &Credential,
    size: Size,
) -> Result<Vec<(String, Value)>> {
    let mut figures = Vec::new();
    for peer in peers.iter().filter(|peer| peer.is_broker) {
        let meter = Meter::idle(peer.process).await?;
        let (mut costs, mut rates, mut acknowledged, mut delivered) = (Vec::new(), Vec::new(), 0, 0);
        for _ in 0..size.rounds {
            let (publishers, subscriber) = connect(peer, dialer, service, size).await?;
            let (round, used) = meter.around(run(publishers, subscriber, size.messages)).await?;
            costs.push(used.as_secs_f64() * 1e6 / round.acknowledged as f64);
            rates.push(round.acknowledged as f64 / round.elapsed.as_secs_f64());
            acknowledged += round.acknowledged;
            delivered += round.delivered;
        }
        let shown: Vec<f64> = costs.iter().copied().map(rounded).collect();
        let undelivered = acknowledged - delivered;
        let value = json!({
            "cpu_us": rounded(median(costs)),
            "rounds": shown,
            "acknowledged": acknowledged,
            "undelivered": undelivered,
            "undelivered_percent": rounded(undelivered as f64 * 100.0 / acknowledged as f64),
            "acknowledged_per_second": median(rates).round(),
        });
        figures.push((peer.name.to_owned(), value));
    }
    Ok(figures)
}

type Publisher = (Session, String);

async fn connect(peer: &Peer, dialer: &Dialer, service: &Credential, size: Size) -> Result<(Vec<Publisher>, Session)> {
    let tls = dialer.configuration(service, Group::X25519)?;
    let mut subscriber = Session::open(peer.address, tls, &service.client_id).await?;
    subscriber.subscribe("devices/#").await?;
    let mut publishers = Vec::new();
    for index in 0..size.publishers {
        let session = dialer.device(index, peer.address, Group::X25519).await?;
        publishers.push((session, format!("devices/{}/bench", dialer.credentials[index].client_id)));
    }
    Ok((publishers, subscriber))
}

async fn run(publishers: Vec<Publisher>, subscriber: Session, messages: u32) -> Result<Round> {
    let begun = Instant::now();
    let (finished, is_finished) = watch::channel(false);
    let all = publishers.len() as u64 * u64::from(messages);
    let receiving = tokio::spawn(receive(subscriber, is_finished, all));
    let mut sending = JoinSet::new();
    for (number, (session, topic)) in publishers.into_iter().enumerate() {
        sending.spawn(send(session, topic, u32::try_from(number)?, messages));
    }
    let mut acknowledged = 0;
    while let Some(sent) = sending.join_next().await {
        acknowledged += sent??;
    }
    let elapsed = begun.elapsed();
    finished.send_replace(true);
    Ok(Round { acknowledged, delivered: receiving.await??, elapsed })
}

/// Publishes with a window; gives how many were acknowledged.
async fn send(mut session: Session, topic: String, number: u32, messages: u32) -> Result<u64> {
    let (mut sent, mut answered, mut acknowledged) = (0, 0, 0);
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    while answered < messages {
        while sent < messages && sent - answered < WINDOW {
            payload[4..8].copy_from_slice(&sent.to_be_bytes());
            let packet_id = u16::try_from(sent % 60_000)? + 1;
            session.send(&publish(&topic, packet_id, &payload)).await?;
            sent += 1;
        }
        let answer = session.packet().await?;
        if answer.head != 0x40 {
            bail!("PUBLISH was answered with {:02x} {:02x?}", answer.head, answer.body);
        }
        answered += 1;
        acknowledged += u64::from(answer.body.get(2).is_none_or(|reason| *reason < 0x80));
    }
    session.close().await;
    Ok(acknowledged)
}

/// Takes and acknowledges what comes; gives how many different messages it were. Ends when all are there, or when nothing
/// came for a while after the last one was acknowledged to its publisher.
async fn receive(mut session: Session, is_finished: watch::Receiver<bool>, all: u64) -> Result<u64> {
    let mut seen: HashSet<[u8; 8]> = HashSet::new();
    while (seen.len() as u64) < all {
        let packet = match timeout(QUIET, session.packet()).await {
            Ok(packet) => packet?,
            Err(_) if *is_finished.borrow() => break,
            Err(_) => continue,
        };
        if packet.head & 0xf0 != 0x30 {
            bail!("the subscriber got {:02x} {:02x?}", packet.head, packet.body);
        }
        let (packet_id, payload) = published(packet.body).context("a PUBLISH that is none")?;
        seen.insert(payload.first_chunk().copied().context("a message of nobody")?);
        if packet.head & 0x06 != 0 {
            session.send(&puback(packet_id)).await?;
        }
    }
    session.close().await;
    Ok(seen.len() as u64)
}

const PAYLOAD_BYTES: usize = 128;
/// Below what both brokers allow.
const WINDOW: u32 = 16;
const QUIET: Duration = Duration::from_millis(1000);
