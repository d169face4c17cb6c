//! The Unix socket on which other programs of the device publish and subscribe, and the command line asks.
//!
//! Line-delimited JSON both ways; the file mode of the socket decides who may connect. Everything is bounded: clients,
//! line lengths, queues. A client that does not read is dropped. What a line means is in `wire`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

mod ask;
mod client;
mod wire;

pub use ask::{AskError, Connection, ask};
pub use wire::{Line, LineAnswer};

use crate::agent::Handle;
use crate::config::LocalApi;

/// A socket that is open. Dropping it closes the socket, ends all clients and removes the file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    clients: JoinSet<()>,
}

impl Server {
    /// Opens the socket. The caller has the lock of the state folder, so a file that is left there is a dead one's.
    pub fn open(settings: &LocalApi, handle: Handle) -> io::Result<Self> {
        let path = settings.socket.clone();
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            std::fs::create_dir_all(folder)?;
        }
        let listener = bind(&path, settings.mode)?;
        let room = Arc::new(Semaphore::new(settings.clients_max));
        let mut clients = JoinSet::new();
        clients.spawn(accept(listener, room, handle));
        Ok(Self { path, clients })
    }

    /// Lets the clients' last answers out, for at most `patience`.
    pub async fn close(mut self, patience: std::time::Duration) {
        let _ = tokio::time::timeout(patience, async { while self.clients.join_next().await.is_some() {} }).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds under another name, sets the mode, renames: nobody ever connects to a socket that has not its mode yet.
fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let mut opening = path.as_os_str().to_owned();
    opening.push(".new");
    let opening = PathBuf::from(opening);
    remove(&opening)?;
    let listener = UnixListener::bind(&opening)?;
    std::fs::set_permissions(&opening, Permissions::from_mode(mode))?;
    std::fs::rename(&opening, path)?;
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Serves clients until the agent ends; each has its own task, and their number is bounded.
async fn accept(listener: UnixListener, room: Arc<Semaphore>, handle: Handle) {
    let mut clients = JoinSet::new();
    let mut status = handle.watch();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(event = "local_api.accept_failed", error = %error);
                    // Out of descriptors, most likely: a busy loop would not free any.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = clients.join_next() => continue,
            // The agent has ended: no new clients, and those that are here get their last answers.
            () = ended(&mut status) => break,
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                let client = client::serve(stream, handle.clone());
                clients.spawn(async move {
                    client.await;
                    drop(permit);
                });
            }
            Err(_) => {
                debug!(event = "local_api.full");
                clients.spawn(client::turn_away(stream));
            }
        }
    }
    while clients.join_next().await.is_some() {}
}

async fn ended(status: &mut tokio::sync::watch::Receiver<Arc<crate::agent::Status>>) {
    while status.changed().await.is_ok() {}
}

const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
