//! The way to a gateway as a door: a port on loopback that lets boards through, shuts in their faces, cuts them off all at
//! once, or hands them to whoever the test wants them to meet. It keeps the time of every knock.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::HOST_ADDRESS;
use crate::live::PATIENCE;

/// What happens to whoever comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behind {
    /// The gateway on this port of loopback.
    Gateway(u16),
    /// Nobody: accepted, and closed at once.
    Nobody,
    /// The test, which asks for the [`Door::visitor`].
    Test,
}

/// A port that boards dial in place of their gateway's.
#[derive(Debug)]
pub struct Door {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    visitors: Receiver<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    behind: Behind,
    knocks: Vec<Instant>,
    /// Both ends of all who were let through.
    let_through: Vec<TcpStream>,
}

impl Door {
    /// A door on any free port. It stays for as long as the process.
    pub fn new(behind: Behind) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Shared { behind, knocks: Vec::new(), let_through: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let (tell, visitors) = channel();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || keep(&listener, &of_thread, &tell));
        Ok(Self { port, shared, visitors })
    }

    /// `HOST:PORT` as an emulated board dials it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{HOST_ADDRESS}:{}", self.port)
    }

    /// Who is behind the door for those who come from now on.
    pub fn lead_to(&self, behind: Behind) {
        lock(&self.shared).behind = behind;
    }

    /// Cuts everybody off who was let through, all at the same moment.
    pub fn cut(&self) {
        for end in std::mem::take(&mut lock(&self.shared).let_through) {
            // Most are those of sessions that are over.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// When somebody came, from the first one on.
    #[must_use]
    pub fn knocks(&self) -> Vec<Instant> {
        lock(&self.shared).knocks.clone()
    }

    /// The next one who comes while the door leads to the test.
    pub fn visitor(&self) -> Result<TcpStream> {
        let visitor = self.visitors.recv_timeout(PATIENCE).context("nobody came")?;
        visitor.set_read_timeout(Some(PATIENCE))?;
        Ok(visitor)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(listener: &TcpListener, shared: &Mutex<Shared>, tell: &Sender<TcpStream>) {
    for visitor in listener.incoming().map_while(Result::ok) {
        let mut shared = lock(shared);
        shared.knocks.push(Instant::now());
        match shared.behind {
            Behind::Nobody => drop(visitor),
            Behind::Test => {
                if tell.send(visitor).is_err() {
                    return;
                }
            }
            // A gateway that is down closes the door, too.
            Behind::Gateway(port) => {
                if let Ok(ends) = let_through(visitor, port) {
                    shared.let_through.extend(ends);
                }
            }
        }
    }
}

fn let_through(visitor: TcpStream, port: u16) -> io::Result<[TcpStream; 2]> {
    let gateway = TcpStream::connect(("127.0.0.1", port))?;
    for end in [&visitor, &gateway] {
        end.set_nodelay(true)?;
    }
    let ends = [visitor.try_clone()?, gateway.try_clone()?];
    for (mut from, mut to) in [(visitor.try_clone()?, gateway.try_clone()?), (gateway, visitor)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            // The end of one direction is the end of it there, too.
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(ends)
}
