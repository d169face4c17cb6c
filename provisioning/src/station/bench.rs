//! The bench: a line, and sessions over it. All waiting is here.

use std::time::{Duration, Instant};

use muster_protocol::message::factory::frame::FrameReader;
use muster_terminal::{Failure, OrFail as _};
use rand_core::{OsRng, RngCore as _};

use super::{Desk, Done, Link, Order, Place, Session};

/// A line that is opened again when it goes away.
#[derive(Debug)]
pub struct Bench {
    place: Place,
    baud: u32,
    link: Option<Link>,
    started: Instant,
}

impl Bench {
    /// Opens the line; waits for it no longer than `patience`.
    pub fn open(place: Place, baud: u32, patience: Duration) -> Result<Self, Failure> {
        let mut bench = Self { place, baud, link: None, started: Instant::now() };
        bench.reopen(patience)?;
        Ok(bench)
    }

    /// One session, from hello to the end. `tell` hears when the session knows more than before.
    pub fn session(
        &mut self,
        order: Order,
        desk: &mut impl Desk,
        mut tell: impl FnMut(&Session),
    ) -> Result<Done, Failure> {
        let patience = order.patience;
        // Never 0; whatever answers to an earlier session still come have other numbers.
        let sequence = u16::try_from(OsRng.next_u32() >> 17).unwrap_or(1);
        let mut session = Session::begin(order, sequence, self.now());
        let mut reader = FrameReader::new();
        let mut buffer = [0; 512];
        loop {
            if let Some(done) = session.done() {
                return Ok(done.clone());
            }
            let now = self.now();
            let sent = match (session.poll_send(now), self.link.as_mut()) {
                (Some(frame), Some(link)) => link.write(frame),
                _ => Ok(()),
            };
            let wait = session.poll_timeout().saturating_sub(self.now());
            let read = sent.and_then(|()| match self.link.as_mut() {
                Some(link) => link.read(&mut buffer, wait),
                None => Err(std::io::ErrorKind::NotConnected.into()),
            });
            match read {
                Ok(read) => {
                    let now = self.now();
                    for byte in buffer.iter().take(read) {
                        if let Some(message) = reader.push(*byte) {
                            session.handle_message(now, message, desk)?;
                            tell(&session);
                        }
                    }
                    session.handle_timeout(now)?;
                }
                Err(_) => {
                    self.link = None;
                    self.reopen(patience)?;
                    reader = FrameReader::new();
                    session.handle_reconnect();
                    session.handle_timeout(self.now())?;
                }
            }
        }
    }

    /// Hears the line out for a while, without a word.
    pub fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut buffer = [0; 512];
        while let Some(wait) = until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            match self.link.as_mut().map(|link| link.read(&mut buffer, wait)) {
                Some(Ok(_)) => {}
                Some(Err(_)) => self.link = None,
                None => std::thread::sleep(wait.min(REOPEN_PAUSE)),
            }
        }
    }

    fn reopen(&mut self, patience: Duration) -> Result<(), Failure> {
        let give_up_at = Instant::now() + patience;
        loop {
            match Link::open(&self.place, self.baud) {
                Ok(link) => {
                    self.link = Some(link);
                    return Ok(());
                }
                Err(error) if Instant::now() >= give_up_at => {
                    return Err(error)
                        .or_fail("station.line", &format!("cannot open {}", self.place))
                        .map_err(|failure| failure.hint("is it plugged in, and does nobody else use it?"));
                }
                Err(_) => std::thread::sleep(REOPEN_PAUSE),
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

const REOPEN_PAUSE: Duration = Duration::from_millis(200);
