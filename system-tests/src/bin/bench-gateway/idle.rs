//! What a session costs that only is there: memory of the server, in bytes. Memory of the kernel (sockets) is not in it;
//! it is the same for every server.

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Dialer, Group, Session};
use super::peer::Peer;
use super::process;

/// The slope from a few sessions to all of them, so that what a server has anyhow does not count.
pub(crate) async fn measure(peer: &Peer, dialer: &Dialer) -> Result<Value> {
    let count = dialer.credentials.len();
    let started = process::memory(peer.process)?;
    let mut sessions = hold(peer, dialer, 0..WARM.min(count)).await?;
    tokio::time::sleep(SETTLE).await;
    let before = process::memory(peer.process)?;
    sessions.extend(hold(peer, dialer, WARM.min(count)..count).await?);
    tokio::time::sleep(SETTLE).await;
    let after = process::memory(peer.process)?;
    let more = (count.saturating_sub(WARM)).max(1) as u64;
    let mut closing: JoinSet<()> = sessions.into_iter().map(Session::close).collect();
    while closing.join_next().await.is_some() {}
    Ok(json!({
        "sessions": count,
        "bytes_per_session": after.saturating_sub(before) / more,
        "process_bytes_at_start": started,
        "process_bytes": after,
    }))
}

/// Opens sessions of the devices with these numbers. Few at a time: what handshakes need meanwhile is not what is asked.
pub(crate) async fn hold(peer: &Peer, dialer: &Dialer, which: std::ops::Range<usize>) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(which.len());
    let all: Vec<usize> = which.collect();
    for few in all.chunks(AT_ONCE) {
        let mut opening = JoinSet::new();
        for index in few {
            let credential = &dialer.credentials[*index];
            let tls = dialer.configuration(credential, Group::X25519)?;
            let (address, client_id) = (peer.address, credential.client_id.clone());
            opening.spawn(async move { Session::open(address, tls, &client_id).await });
        }
        while let Some(opened) = opening.join_next().await {
            sessions.push(opened??);
        }
    }
    Ok(sessions)
}

const WARM: usize = 100;
const AT_ONCE: usize = 4;
const SETTLE: std::time::Duration = std::time::Duration::from_millis(1500);
