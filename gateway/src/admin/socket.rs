//! The admin socket of a running gateway: `admin.sock` in its directory, mode 0600, for the gateway's own user and root.
//!
//! Whoever reaches it has the directory and could do anything anyway; so everything is allowed here, and recorded as
//! `local`. See `wire` for what travels.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::caller::Caller;
use super::error::OperationError;
use super::operations::Operations;
use super::wire::{Answered, Asked, BODY_BYTES_MAX, REQUEST_BYTES_MAX, VERSION};
use crate::store::Store;

/// Connections that are served at the same time; more wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take to send a request, or be silent between two.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// How long a connection may take to read an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The socket; its file is gone when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Makes the socket. Whoever calls has the directory's lock, so a file that is there was left behind.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // The directory is 0700, so nobody came in between.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until it is dropped; the requests under way then end where they are.
    pub async fn serve<S: Store>(self, operations: Arc<Operations<S>>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let operations = Arc::clone(&operations);
                    connections.spawn(async move {
                        let _place = place;
                        if let Err(error) = connection(stream, &operations).await {
                            tracing::debug!(%error, "an admin connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn connection<S: Store>(stream: UnixStream, operations: &Operations<S>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        tracing::warn!(uid = peer, "a user who may not was turned away at the admin socket");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let Some((asked, body)) = timeout(REQUEST_DEADLINE, read(&mut reader)).await?? else {
            return Ok(());
        };
        let (result, is_over) = match asked {
            Ok(asked) => (asked.request.answer(operations, &Caller::local(), body).await, false),
            // What follows a request that is none cannot be told from its body.
            Err(error) => (Err(error), true),
        };
        let mut line = serde_json::to_vec(&Answered::from(result))?;
        line.push(b'\n');
        timeout(ANSWER_DEADLINE, writer.write_all(&line)).await??;
        if is_over {
            return Ok(());
        }
    }
}

type Read = (Result<Asked, OperationError>, Vec<u8>);

/// One request and its body; `None` at the end.
async fn read(reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>) -> io::Result<Option<Read>> {
    let mut line = Vec::new();
    let bound = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    (&mut *reader).take(bound).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let refuse = |why: String| Ok(Some((Err(OperationError::request("message.malformed", why)), Vec::new())));
    if line.last() != Some(&b'\n') {
        return refuse("the request is too long or was cut off".to_owned());
    }
    let asked: Asked = match serde_json::from_slice(&line) {
        Ok(asked) => asked,
        Err(error) => return refuse(format!("this is no request: {error}")),
    };
    if asked.v != VERSION {
        return refuse(format!("version {} is not spoken here", asked.v));
    }
    if asked.body_bytes > BODY_BYTES_MAX {
        return refuse(format!("a body has {BODY_BYTES_MAX} bytes at most"));
    }
    let mut body = Vec::new();
    (&mut *reader).take(asked.body_bytes).read_to_end(&mut body).await?;
    if u64::try_from(body.len()) != Ok(asked.body_bytes) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((Ok(asked), body)))
}
