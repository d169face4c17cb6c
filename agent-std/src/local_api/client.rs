//! One program on the socket: its questions in order, and publications as they come.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::wire::{LINE_BYTES_MAX, Line, LineAnswer, Op};
use crate::agent::{Handle, Refusal, Status, Subscription};

/// Serves one client until it leaves, breaks the rules, does not read, or the agent ends.
pub(super) async fn serve(stream: UnixStream, handle: Handle) {
    let (reader, writer) = stream.into_split();
    let mut client = Client { writer, status: handle.watch(), handle, subscription: None, watches: false };
    let mut lines = Lines { reader, buffer: Vec::new(), searched: 0 };
    if client.converse(&mut lines).await.is_none() {
        debug!(event = "local_api.dropped");
    }
}

/// Tells a client that there is no room.
pub(super) async fn turn_away(stream: UnixStream) {
    let (_, mut writer) = stream.into_split();
    let refusal = Refusal::new("agent.busy", "too many programs are connected; see local_api.clients_max");
    let _ = timeout(WRITE_MAX, writer.write_all(&LineAnswer::to(None, Err(refusal)).to_line())).await;
}

struct Client {
    writer: OwnedWriteHalf,
    handle: Handle,
    status: watch::Receiver<Arc<Status>>,
    subscription: Option<Subscription>,
    watches: bool,
}

impl Client {
    /// `None` when the client had to be dropped.
    async fn converse<R: AsyncRead + Unpin>(&mut self, lines: &mut Lines<R>) -> Option<()> {
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(line)) => self.answer(&line).await?,
                    Ok(None) => return Some(()),
                    Err(refusal) => {
                        self.write(&LineAnswer::to(None, Err(refusal))).await?;
                        return None;
                    }
                },
                delivery = next(&mut self.subscription) => match delivery {
                    Some(delivery) => self.write(&LineAnswer::delivery(&delivery)).await?,
                    None => {
                        let refusal = Refusal::new("agent.detached", "publications came faster than they were read");
                        self.write(&LineAnswer::to(None, Err(refusal))).await?;
                        return None;
                    }
                },
                changed = self.status.changed() => match changed {
                    Ok(()) if self.watches => self.tell_status().await?,
                    Ok(()) => {}
                    // The agent has ended.
                    Err(_) => return Some(()),
                },
            }
        }
    }

    async fn answer(&mut self, line: &[u8]) -> Option<()> {
        let (id, outcome) = match Line::parse(line) {
            Ok(line) => (line.id.clone(), self.act(&line).await),
            Err(refusal) => (None, Err(refusal)),
        };
        self.write(&LineAnswer::to(id, outcome)).await
    }

    async fn act(&mut self, line: &Line) -> Result<Option<Arc<Status>>, Refusal> {
        match line.op()? {
            Op::Publish { topic, payload, quality } => {
                let published = timeout(PUBLISH_MAX, self.handle.publish(&topic, payload, quality)).await;
                published.unwrap_or_else(|_| Err(Refusal::new("agent.timeout", "the gateway did not answer")))?;
                Ok(None)
            }
            Op::Subscribe { filter } => self.subscription().await?.add(&filter).await.map(|()| None),
            Op::Unsubscribe { filter } => self.subscription().await?.remove(&filter).await.map(|()| None),
            Op::Status => Ok(Some(self.handle.status())),
            Op::Watch => {
                self.watches = true;
                Ok(Some(Arc::clone(&self.status.borrow_and_update())))
            }
            Op::Rotate => self.handle.rotate().await.map(|()| None),
            Op::Retire => self.handle.retire().await.map(|()| None),
        }
    }

    async fn subscription(&mut self) -> Result<&Subscription, Refusal> {
        let subscription = match self.subscription.take() {
            Some(subscription) => subscription,
            None => self.handle.attach(DELIVERIES_MAX).await?,
        };
        Ok(self.subscription.insert(subscription))
    }

    async fn tell_status(&mut self) -> Option<()> {
        let status = Arc::clone(&self.status.borrow_and_update());
        self.write(&LineAnswer::to(None, Ok(Some(status)))).await
    }

    async fn write(&mut self, answer: &LineAnswer) -> Option<()> {
        timeout(WRITE_MAX, self.writer.write_all(&answer.to_line())).await.ok()?.ok()
    }
}

async fn next(subscription: &mut Option<Subscription>) -> Option<Arc<crate::agent::Delivery>> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// Lines of bounded length. Safe to cancel between them.
struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// So much of the buffer has no line end.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        loop {
            let found = self.buffer.iter().skip(self.searched).position(|byte| *byte == b'\n');
            if let Some(end) = found.map(|offset| self.searched + offset) {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Refusal::new("request.oversized", "a line has at most 131072 bytes"));
            }
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }
}

/// How long a client may take to read one line.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long the gateway may take to acknowledge a client's publication.
const PUBLISH_MAX: Duration = Duration::from_secs(30);
/// Publications that may wait for a client.
const DELIVERIES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_bounded() {
        let mut lines = Lines { reader: &b"one\n\ntwo\nthree"[..], buffer: Vec::new(), searched: 0 };
        for expected in ["one", "", "two"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected.as_bytes());
        }
        assert!(lines.next().await.unwrap().is_none(), "half a line is none");
        let mut lines = Lines { reader: tokio::io::repeat(b'x'), buffer: Vec::new(), searched: 0 };
        assert_eq!(lines.next().await.unwrap_err().code, "request.oversized");
    }
}
