//! What a connection costs: TCP, a full mTLS handshake, CONNECT, CONNACK and the end of it, in microseconds of the
//! server's processor time. The servers take turns, so that a busy minute of the machine is everybody's.

use std::sync::Arc;

use anyhow::Result;
use rustls::ClientConfig;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::client::{Dialer, Group, Session};
use super::peer::Peer;
use super::process::Meter;
use super::{Size, median, rounded};

/// For each server and each group: every round, and the middle one.
pub(crate) async fn measure(peers: &[&Peer], dialer: &Dialer, size: Size) -> Result<Vec<(String, Value)>> {
    let mut meters = Vec::new();
    for peer in peers {
        meters.push(Meter::idle(peer.process).await?);
    }
    let mut figures: Vec<Map<String, Value>> = vec![Map::new(); peers.len()];
    for group in Group::ALL {
        let devices = devices(dialer, group)?;
        let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
        // The first round warms up and counts for nobody.
        for round in 0..=size.rounds {
            for (index, peer) in peers.iter().enumerate().filter(|(_, peer)| peer.speaks(group)) {
                let (done, used) = meters[index].around(connections(peer, &devices, size.connections)).await?;
                if round > 0 {
                    rounds[index].push(used.as_secs_f64() * 1e6 / done as f64);
                }
            }
        }
        for (figures, rounds) in figures.iter_mut().zip(rounds).filter(|(_, rounds)| !rounds.is_empty()) {
            let shown: Vec<f64> = rounds.iter().copied().map(rounded).collect();
            figures.insert(group.name().to_owned(), json!({ "cpu_us": rounded(median(rounds)), "rounds": shown }));
        }
    }
    Ok(peers.iter().map(|peer| peer.name.to_owned()).zip(figures.into_iter().map(Value::Object)).collect())
}

type Device = (String, Arc<ClientConfig>);

fn devices(dialer: &Dialer, group: Group) -> Result<Arc<[Device]>> {
    let few = dialer.credentials.iter().take(WORKERS * DEVICES_OF_WORKER);
    few.map(|credential| anyhow::Ok((credential.client_id.clone(), dialer.configuration(credential, group)?))).collect()
}

/// Opens and closes so many connections; gives how many it were.
async fn connections(peer: &Peer, devices: &Arc<[Device]>, count: usize) -> Result<usize> {
    let mut workers = JoinSet::new();
    let each = count / WORKERS;
    for worker in 0..WORKERS {
        let (devices, address) = (Arc::clone(devices), peer.address);
        workers.spawn(async move {
            for turn in 0..each {
                let (client_id, tls) = &devices[worker * DEVICES_OF_WORKER + turn % DEVICES_OF_WORKER];
                Session::open(address, Arc::clone(tls), client_id).await?.close().await;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(each * WORKERS)
}

const WORKERS: usize = 8;
/// A device's last session has ended on the server, too, when its turn comes again.
const DEVICES_OF_WORKER: usize = 8;
