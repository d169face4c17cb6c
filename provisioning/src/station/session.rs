//! One board, from the first hello to the lock, without a line, a file or a clock.
//!
//! The session asks, one request at a time, and sends it again until its answer comes; every request does no harm when
//! it arrives twice. What the board holds and what the ledger says decide the next step, never what this session
//! remembers: after a kill, an unplugged board or a restart it begins again with hello and goes on where both stand.
//!
//! | the board is | the ledger has its key | next |
//! |---|---|---|
//! | empty | | make the key |
//! | keyed | not at all, or without a certificate | a CSR for the name, sign it |
//! | keyed | with a certificate | write that very certificate |
//! | written | with that certificate | lock |
//! | locked | with that certificate | done |
//! | written, locked | otherwise | refuse: it is not of this line |
//!
//! Each step is recorded before the next one begins, and nothing leaves the station before it is recorded.

use std::time::Duration;

use muster_protocol::limits::FACTORY_CHUNK_BYTES_MAX;
use muster_protocol::message::factory::frame::{Frame, frame};
use muster_protocol::message::factory::{
    Answer, Digest, Hello, Kept, Part, Request, Standing, decode_answer, encode, sequence,
};
use muster_protocol::pki::PublicKey;
use muster_protocol::{Code, DeviceId, FleetId, Identity};
use muster_terminal::Failure;

use super::{Desk, Offer, willing_to_sign};
use crate::ledger::{Entry, Stage};

/// What every board of this run gets.
#[derive(Clone, Debug)]
pub struct Order {
    /// The product that the boards have to be of.
    pub product: String,
    /// Their fleet.
    pub fleet: FleetId,
    /// The fleet file.
    pub trust: Vec<u8>,
    /// The name that this board is to have, where somebody chose it.
    pub device: Option<DeviceId>,
    /// Longest silence of a board before the session gives up.
    pub patience: Duration,
}

/// How a board came to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// Made in this session.
    Made,
    /// Begun before, finished now.
    Resumed,
    /// Done before; nothing was changed.
    Already,
}

/// A board that is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    /// Its name.
    pub device: DeviceId,
    /// Its key.
    pub public_key: PublicKey,
    /// How it came to be.
    pub how: How,
}

/// A session with one board.
#[derive(Debug)]
pub struct Session {
    order: Order,
    trust: Digest,
    sequence: u16,
    /// The request under way, framed, and what it waits for.
    request: Frame,
    awaits: Awaits,
    to_send: bool,
    /// When the request was sent last, and when the board was heard last.
    sent_at: Duration,
    heard_at: Duration,
    /// The board, once its key and its name are known.
    board: Option<Board>,
    how: How,
    /// Times that it began again, and why it did last.
    restarts: u32,
    last_refusal: Option<Code>,
    seen: Option<Hello>,
    done: Option<Done>,
}

#[derive(Clone, Debug)]
struct Board {
    device: DeviceId,
    public_key: PublicKey,
    certificate: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaits {
    Hello,
    Key,
    Csr(PublicKey),
    /// And where the bytes under way begin.
    Received(Part, usize),
    Written,
    Locked,
    Leaving,
    Nothing,
}

impl Session {
    /// Begins. `sequence` is random, so that answers to an earlier session are not taken for this one's. Times are since
    /// any moment, the same for every call.
    #[must_use]
    pub fn begin(order: Order, sequence: u16, now: Duration) -> Self {
        let trust = Digest::of(&order.trust);
        let mut session = Self {
            order,
            trust,
            sequence,
            request: Frame::new(),
            awaits: Awaits::Nothing,
            to_send: false,
            sent_at: now,
            heard_at: now,
            board: None,
            how: How::Made,
            restarts: 0,
            last_refusal: None,
            seen: None,
            done: None,
        };
        session.ask(&Request::Hello, Awaits::Hello);
        session
    }

    /// The frame to send now, if there is one.
    pub fn poll_send(&mut self, now: Duration) -> Option<&[u8]> {
        if !std::mem::take(&mut self.to_send) {
            return None;
        }
        self.sent_at = now;
        Some(&self.request)
    }

    /// When [`Session::handle_timeout`] wants to be called, unless something comes first.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        self.sent_at + self.pause()
    }

    /// What the board said of itself, once it did.
    #[must_use]
    pub const fn hello(&self) -> Option<&Hello> {
        self.seen.as_ref()
    }

    /// The board's name, as soon as the ledger gave it one.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        self.board.as_ref().map(|board| &board.device)
    }

    /// The outcome, once there is one.
    #[must_use]
    pub const fn done(&self) -> Option<&Done> {
        self.done.as_ref()
    }

    /// Sends the request again; gives up when the board was silent for too long.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Failure> {
        if self.done.is_some() || now < self.poll_timeout() {
            return Ok(());
        }
        if self.awaits == Awaits::Leaving && now.saturating_sub(self.heard_at) >= LEAVE_PATIENCE {
            // It is locked and recorded; a board that starts anew may owe us this answer for ever.
            self.finish();
            return Ok(());
        }
        if now.saturating_sub(self.heard_at) >= self.order.patience {
            return Err(match self.last_refusal {
                Some(code) => refusal(code, "the board does not go on"),
                None => silent(self.seen.is_some()),
            });
        }
        self.to_send = true;
        Ok(())
    }

    /// The line was gone and is back: the board may be another one.
    pub fn handle_reconnect(&mut self) {
        if self.done.is_none() && self.awaits != Awaits::Leaving {
            self.ask(&Request::Hello, Awaits::Hello);
        }
    }

    /// Takes one message off the line.
    pub fn handle_message(&mut self, now: Duration, message: &[u8], desk: &mut impl Desk) -> Result<(), Failure> {
        let Some(sequence) = sequence(message) else { return Ok(()) };
        if self.done.is_some() || (sequence != self.sequence && sequence != 0) {
            return Ok(());
        }
        let answer = match decode_answer(message) {
            Ok(answer) => answer,
            Err(code @ Code::MessageVersion) => {
                return Err(refusal(code, "the board's firmware is of another version"));
            }
            // It had a good check: not noise, but nothing of ours either.
            Err(_) => return Ok(()),
        };
        if sequence == 0 {
            // It has just started. What it said may be old by now; a new hello tells.
            if matches!(answer, Answer::Hello(_)) && self.awaits != Awaits::Leaving {
                self.heard_at = now;
                self.begin_again(None)?;
            }
            return Ok(());
        }
        let heard_before = std::mem::replace(&mut self.heard_at, now);
        match (self.awaits, answer) {
            (Awaits::Hello, Answer::Hello(hello)) => self.met(hello, desk),
            (Awaits::Key, Answer::Key { public_key }) => self.keyed(public_key, desk),
            (Awaits::Csr(key), Answer::Csr { csr }) => self.requested(&key, csr, desk),
            (Awaits::Received(part, offset), Answer::Received { part: of, bytes }) if part == of => {
                match usize::from(bytes) {
                    received if received > offset => self.put(part, received),
                    // The board lost what it had.
                    _ => self.begin_again(Some(Code::FactoryIncomplete)),
                }
            }
            (Awaits::Written, Answer::Written { certificate, trust }) => self.written(certificate, trust, desk),
            (Awaits::Locked, Answer::Locked { certificate }) => self.locked(certificate, desk),
            (Awaits::Leaving, Answer::Leaving) => {
                self.finish();
                Ok(())
            }
            (_, Answer::Refused { code }) => self.refused(code),
            // An answer to something else: a leftover with our number. The right one comes, or we ask again.
            _ => {
                self.heard_at = heard_before;
                Ok(())
            }
        }
    }

    fn met(&mut self, hello: Hello, desk: &mut impl Desk) -> Result<(), Failure> {
        if hello.product.as_str() != self.order.product {
            let message = format!("the board is a {}, this station makes {}", hello.product, self.order.product);
            return Err(Failure::refused(Code::FactoryWrongProduct.name(), message));
        }
        let standing = hello.standing.clone();
        self.seen = Some(hello);
        // Whatever was known is about a board that may be gone.
        (self.board, self.how) = (None, How::Made);
        match standing {
            Standing::Empty => {
                self.ask(&Request::MakeKey, Awaits::Key);
                Ok(())
            }
            Standing::Keyed { public_key } => self.keyed(public_key, desk),
            Standing::Written { kept, trust } => {
                let entry = self.recognise(&kept, desk)?;
                if trust != self.trust {
                    return Err(refusal(Code::FactoryWritten, &format!("{} has another fleet file", kept.device)));
                }
                self.adopt(&entry, &kept);
                self.written(kept.certificate, trust, desk)
            }
            Standing::Locked { kept } => {
                let entry = self.recognise(&kept, desk)?;
                self.adopt(&entry, &kept);
                self.how = if entry.stage >= Stage::Locked { How::Already } else { How::Resumed };
                if entry.stage < Stage::Written {
                    desk.written(&kept.device, &kept.certificate, &self.trust)?;
                }
                if entry.stage < Stage::Locked {
                    desk.locked(&kept.device)?;
                }
                self.ask(&Request::Leave, Awaits::Leaving);
                Ok(())
            }
        }
    }

    /// The ledger's entry for an identity that a board has; everything about it has to fit.
    fn recognise(&self, kept: &Kept, desk: &mut impl Desk) -> Result<Entry, Failure> {
        let foreign = || {
            let message = format!("the board is {} of fleet {} already", kept.device, kept.fleet);
            refusal(Code::FactoryForeign, &message)
        };
        let entry = desk.known(&kept.public_key)?.ok_or_else(foreign)?;
        let certificate = entry.certificate.as_deref().map(Digest::of);
        if entry.device != kept.device || kept.fleet != self.order.fleet || certificate != Some(kept.certificate) {
            return Err(foreign());
        }
        self.check_name(&entry.device)?;
        Ok(entry)
    }

    fn check_name(&self, device: &DeviceId) -> Result<(), Failure> {
        match &self.order.device {
            Some(wanted) if wanted != device => {
                Err(refusal(Code::FactoryKeyBound, &format!("the board is {device}, not {wanted}")))
            }
            _ => Ok(()),
        }
    }

    fn adopt(&mut self, entry: &Entry, kept: &Kept) {
        self.how = How::Resumed;
        self.board = Some(Board {
            device: kept.device.clone(),
            public_key: kept.public_key,
            certificate: entry.certificate.clone().unwrap_or_default(),
            stage: entry.stage,
        });
    }

    fn keyed(&mut self, public_key: PublicKey, desk: &mut impl Desk) -> Result<(), Failure> {
        let entry = desk.known(&public_key)?;
        let device = match &entry {
            None => desk.reserve()?,
            Some(entry) => {
                self.check_name(&entry.device)?;
                if entry.stage >= Stage::Locked {
                    // The ledger saw this key locked on a board; a board that has lost it, or a copy of the key.
                    let message = format!("{} is done, and this board is not", entry.device);
                    return Err(refusal(Code::FactoryNumberTaken, &message));
                }
                self.how = How::Resumed;
                entry.device.clone()
            }
        };
        let stage = entry.as_ref().map_or(Stage::Reserved, |entry| entry.stage);
        let certificate = entry.and_then(|entry| entry.certificate).unwrap_or_default();
        let has_certificate = !certificate.is_empty();
        self.board = Some(Board { device: device.clone(), public_key, certificate, stage });
        if has_certificate {
            return self.put(Part::Certificate, 0);
        }
        let fleet = self.order.fleet.clone();
        self.ask(&Request::MakeCsr { fleet, device }, Awaits::Csr(public_key));
        Ok(())
    }

    fn requested(&mut self, key: &PublicKey, csr: &[u8], desk: &mut impl Desk) -> Result<(), Failure> {
        let Some(board) = &mut self.board else { return Ok(()) };
        let identity = Identity::device(self.order.fleet.clone(), board.device.clone());
        let willing = willing_to_sign(csr, &Offer { identity, public_key: *key })
            .map_err(|code| refusal(code, "the station does not sign this CSR"))?;
        if board.stage < Stage::Bound {
            desk.bind(&board.device, &willing)?;
            board.stage = Stage::Bound;
        }
        board.certificate = desk.issue(&board.device, &willing)?;
        board.stage = Stage::Issued;
        self.put(Part::Certificate, 0)
    }

    /// Goes on with a part where the board stands, then with the next, then has both written.
    fn put(&mut self, part: Part, received: usize) -> Result<(), Failure> {
        let Some(board) = &self.board else { return Ok(()) };
        let (certificate, trust) = (board.certificate.clone(), self.order.trust.clone());
        let whole = match part {
            Part::Certificate => &certificate,
            Part::Trust => &trust,
        };
        match whole.get(received..) {
            Some([]) if part == Part::Certificate => return self.put(Part::Trust, 0),
            Some([]) => {
                let request = Request::Write { certificate: Digest::of(&certificate), trust: self.trust };
                self.ask(&request, Awaits::Written);
            }
            Some(rest) => {
                let bytes = rest.get(..rest.len().min(FACTORY_CHUNK_BYTES_MAX)).unwrap_or(rest);
                // Certificates and fleet files are far shorter than 64 KiB.
                let offset = u16::try_from(received).unwrap_or(u16::MAX);
                self.ask(&Request::Put { part, offset, bytes }, Awaits::Received(part, received));
            }
            None => return self.begin_again(Some(Code::FactoryIncomplete)),
        }
        Ok(())
    }

    fn written(&mut self, certificate: Digest, trust: Digest, desk: &mut impl Desk) -> Result<(), Failure> {
        let Some(board) = &mut self.board else { return Ok(()) };
        if certificate != Digest::of(&board.certificate) || trust != self.trust {
            return self.begin_again(Some(Code::FactoryStorage));
        }
        if board.stage < Stage::Written {
            desk.written(&board.device, &certificate, &trust)?;
            board.stage = Stage::Written;
        }
        self.ask(&Request::Lock { certificate }, Awaits::Locked);
        Ok(())
    }

    fn locked(&mut self, certificate: Digest, desk: &mut impl Desk) -> Result<(), Failure> {
        let Some(board) = &mut self.board else { return Ok(()) };
        if certificate != Digest::of(&board.certificate) {
            return self.begin_again(Some(Code::FactoryStorage));
        }
        if board.stage < Stage::Locked {
            desk.locked(&board.device)?;
            board.stage = Stage::Locked;
        }
        self.ask(&Request::Leave, Awaits::Leaving);
        Ok(())
    }

    /// The board refuses a step. It may be another board by now, or one that started anew: hello tells. One that goes on
    /// refusing is refused in turn.
    fn refused(&mut self, code: Code) -> Result<(), Failure> {
        match self.awaits {
            Awaits::Hello | Awaits::Nothing => Err(refusal(code, "the board refuses")),
            // Locked and recorded: whoever has no leave to take is the next board.
            Awaits::Leaving => {
                self.finish();
                Ok(())
            }
            _ => self.begin_again(Some(code)),
        }
    }

    fn begin_again(&mut self, why: Option<Code>) -> Result<(), Failure> {
        self.last_refusal = why.or(self.last_refusal);
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            return Err(match self.last_refusal {
                Some(code) => refusal(code, "the board goes on refusing"),
                None => Failure::failed("station.restarts", "the board starts anew again and again"),
            });
        }
        self.ask(&Request::Hello, Awaits::Hello);
        Ok(())
    }

    fn finish(&mut self) {
        let Some(board) = &self.board else { return };
        self.awaits = Awaits::Nothing;
        self.done = Some(Done { device: board.device.clone(), public_key: board.public_key, how: self.how });
    }

    fn ask(&mut self, request: &Request<'_>, awaits: Awaits) {
        // 0 is the number of what a board says unasked.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1).max(1);
        // Every request fits: the longest is a full chunk, and the bound is made for it.
        self.request = encode(self.sequence, request).map(|message| frame(&message)).unwrap_or_default();
        self.awaits = awaits;
        self.to_send = true;
    }

    /// How long an answer may take: keys are made and flash is erased on slow chips.
    const fn pause(&self) -> Duration {
        match self.awaits {
            Awaits::Key | Awaits::Csr(_) | Awaits::Written | Awaits::Locked => Duration::from_secs(3),
            _ => Duration::from_millis(700),
        }
    }
}

/// A refusal with a stable code; exit 3.
pub(super) fn refusal(code: Code, what: &str) -> Failure {
    let failure = Failure::refused(code.name(), format!("{what}: {}", code.text()));
    match code {
        Code::FactoryForeign => failure.hint("a board is a device of one line for life; take a blank one"),
        Code::FactoryWritten => failure.hint("go on with it where it was begun, with the same --fleet and --pki"),
        Code::FactoryKeyBound => failure.hint("give the --device-id that the board has, or none"),
        Code::MessageVersion => failure.hint("this muster-provision and the board's firmware do not fit together"),
        _ => failure,
    }
}

fn silent(was_heard: bool) -> Failure {
    if was_heard {
        Failure::failed("station.silent", "the board stopped answering").hint("plug it in again and repeat the command")
    } else {
        Failure::failed("station.silent", "no board answers").hint("is it powered, and is this its serial line?")
    }
}

const LEAVE_PATIENCE: Duration = Duration::from_secs(3);
/// A board that is plugged in badly starts a few times; one that never gets on is broken.
const RESTARTS_MAX: u32 = 12;
