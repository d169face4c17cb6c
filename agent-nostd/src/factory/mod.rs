//! Factory mode: a blank board becomes a device over its serial line.
//!
//! The board is the one that answers ([`muster_protocol::message::factory`]). It remembers nothing but what is in its
//! store and what of certificate and trust has arrived since the start, so a power cut at any moment is one restart: the
//! station asks again, and finds the step before done or not done. Every request may come twice.
//!
//! | stage | what the board does |
//! |---|---|
//! | empty | makes its key when told to; it never leaves the store |
//! | keyed | writes CSRs for it; takes certificate and fleet file in parts, judges them, writes them, reads them back |
//! | written | shows what it holds; locks it when told which |
//! | locked | answers who it is, and refuses everything else; leaves for the agent |
//!
//! | file | idea |
//! |---|---|
//! | `store` | what is asked of flash, secure element and lock |
//! | `flash` | the same in NOR flash |
//! | `judge` | what the board is willing to become |
//! | `line` | the loop over a serial line |
//!
//! A board starts with [`Factory::begin`]: it says whether to stay in factory mode or to start the agent.

mod flash;
mod judge;
mod line;
mod store;

pub use flash::FlashStore;
pub use line::{LineError, serve, serve_locked};
pub use store::{FactoryStore, Stage, StoreError};

use heapless::{String, Vec};
use muster_protocol::limits::{CERTIFICATE_BYTES_MAX, FLEET_FILE_BYTES_MAX, LABEL_BYTES_MAX, PRODUCT_BYTES_MAX};
use muster_protocol::message::factory::{
    Answer, Digest, Encoded, Hello, Kept, Part, Request, Standing, decode_request, encode, sequence,
};
use muster_protocol::pki::{Certificate, CsrDraft};
use muster_protocol::{Code, DeviceId, FleetId, Identity};
use rand_core::CryptoRngCore;

/// What the firmware says of the board it runs on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct About {
    /// The product that this firmware is for. The station refuses a board of another product.
    pub product: String<PRODUCT_BYTES_MAX>,
    /// Kind of board, for people.
    pub board: String<LABEL_BYTES_MAX>,
    /// Version of the agent, for people.
    pub agent: String<LABEL_BYTES_MAX>,
}

/// What comes after an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// The next request.
    Stay,
    /// The station is done: start anew, as a device.
    Leave,
}

/// Factory mode without a line, a flash or a clock. Large: keep it in a static.
#[derive(Debug)]
pub struct Factory {
    about: About,
    certificate: Vec<u8, CERTIFICATE_BYTES_MAX>,
    trust: Vec<u8, FLEET_FILE_BYTES_MAX>,
}

impl Factory {
    /// Factory mode for this board.
    #[must_use]
    pub const fn new(about: About) -> Self {
        Self { about, certificate: Vec::new(), trust: Vec::new() }
    }

    /// The first thing after a start. `None`: no identity yet, or one that is not locked, so [`serve`] until there is.
    /// Otherwise the board is a device: start the agent, and beside it [`serve_locked`] with what comes back.
    ///
    /// Locks the hardware once more: the power may have gone between the lock's record and the lock.
    #[inline(never)]
    pub fn begin(&mut self, store: &mut impl FactoryStore) -> Result<Option<Hello>, StoreError> {
        if store.stage()? != Stage::Locked {
            return Ok(None);
        }
        store.lock()?;
        self.hello(store).map(Some).map_err(|_| StoreError)
    }

    /// What a board says when it starts, without being asked.
    pub fn announce(&mut self, store: &mut impl FactoryStore) -> Encoded {
        answer(0, self.hello(store).map(Answer::Hello))
    }

    /// Takes one message; gives the answer to send, and what comes after it.
    pub fn handle(
        &mut self,
        message: &[u8],
        store: &mut impl FactoryStore,
        rng: &mut impl CryptoRngCore,
    ) -> (Encoded, After) {
        let sequence = sequence(message).unwrap_or(0);
        let request = match decode_request(message) {
            Ok(request) => request,
            Err(code) => return (answer(sequence, Err(code)), After::Stay),
        };
        if let Request::MakeCsr { fleet, device } = request {
            return (self.make_csr(sequence, fleet, device, store), After::Stay);
        }
        let outcome = self.grant(&request, store, rng);
        let after = if outcome == Ok(Answer::Leaving) { After::Leave } else { After::Stay };
        (answer(sequence, outcome), after)
    }

    fn grant(
        &mut self,
        request: &Request<'_>,
        store: &mut impl FactoryStore,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Answer<'static>, Code> {
        match request {
            Request::Hello => self.hello(store).map(Answer::Hello),
            Request::MakeKey => make_key(store, rng),
            Request::Put { part, offset, bytes } => self.put(*part, usize::from(*offset), bytes, store),
            Request::Write { certificate, trust } => self.write(*certificate, *trust, store),
            Request::Lock { certificate } => self.lock(*certificate, store),
            Request::Leave if stage(store)? == Stage::Locked => Ok(Answer::Leaving),
            Request::Leave | Request::MakeCsr { .. } => Err(Code::MessageUnexpected),
        }
    }

    #[inline(never)]
    fn hello(&mut self, store: &mut impl FactoryStore) -> Result<Hello, Code> {
        let standing = match stage(store)? {
            Stage::Empty => Standing::Empty,
            Stage::Keyed => Standing::Keyed { public_key: public_key(store)? },
            Stage::Written => {
                let kept = self.kept(store)?;
                Standing::Written { kept, trust: self.read_trust(store)? }
            }
            Stage::Locked => Standing::Locked { kept: self.kept(store)? },
        };
        let About { product, board, agent } = self.about.clone();
        Ok(Hello { product, board, agent, standing })
    }

    fn make_csr(&self, sequence: u16, fleet: FleetId, device: DeviceId, store: &mut impl FactoryStore) -> Encoded {
        let signed = expect(Stage::Keyed, store).and_then(|()| {
            let draft = CsrDraft::new(&Identity::device(fleet, device), &public_key(store)?);
            let signature = store.sign(draft.to_be_signed()).map_err(storage)?;
            Ok(draft.finish(&signature))
        });
        match signed {
            Ok(csr) => answer(sequence, Ok(Answer::Csr { csr: &csr })),
            Err(code) => answer(sequence, Err(code)),
        }
    }

    /// A part arrives piece by piece. Where the board stands is in every answer, so a station that lost count finds back.
    fn put(
        &mut self,
        part: Part,
        offset: usize,
        bytes: &[u8],
        store: &mut impl FactoryStore,
    ) -> Result<Answer<'static>, Code> {
        expect(Stage::Keyed, store)?;
        let received = match part {
            Part::Certificate => append(&mut self.certificate, offset, bytes)?,
            Part::Trust => append(&mut self.trust, offset, bytes)?,
        };
        Ok(Answer::Received { part, bytes: received })
    }

    fn write(
        &mut self,
        certificate: Digest,
        trust: Digest,
        store: &mut impl FactoryStore,
    ) -> Result<Answer<'static>, Code> {
        if stage(store)? == Stage::Keyed {
            if Digest::of(&self.certificate) != certificate || Digest::of(&self.trust) != trust {
                return Err(Code::FactoryIncomplete);
            }
            judge::judge(&self.certificate, &self.trust, &public_key(store)?)?;
            store.write(&self.certificate, &self.trust).map_err(storage)?;
        }
        // From here on nothing is believed but what the store gives back.
        expect(Stage::Written, store)?;
        let found = (self.read_certificate(store)?, self.read_trust(store)?);
        if found != (certificate, trust) {
            return Err(Code::FactoryWritten);
        }
        Ok(Answer::Written { certificate, trust })
    }

    fn lock(&mut self, meant: Digest, store: &mut impl FactoryStore) -> Result<Answer<'static>, Code> {
        if !matches!(stage(store)?, Stage::Written | Stage::Locked) {
            return Err(Code::MessageUnexpected);
        }
        let certificate = self.read_certificate(store)?;
        if certificate != meant {
            return Err(Code::FactoryWritten);
        }
        if store.lock().is_err() && stage(store)? == Stage::Written {
            // A torn attempt may be in the way of the lock's record: write it all anew, then lock.
            self.read_trust(store)?;
            store.write(&self.certificate, &self.trust).map_err(storage)?;
        }
        store.lock().map_err(storage)?;
        if stage(store)? != Stage::Locked {
            return Err(Code::FactoryStorage);
        }
        Ok(Answer::Locked { certificate })
    }

    /// The identity in the store. What had arrived gives way to it.
    fn kept(&mut self, store: &mut impl FactoryStore) -> Result<Kept, Code> {
        let certificate = self.read_certificate(store)?;
        let view = Certificate::parse(&self.certificate).map_err(|_| Code::FactoryStorage)?;
        let Ok(Identity::Device { fleet, device }) = view.identity() else { return Err(Code::FactoryStorage) };
        Ok(Kept { fleet, device, public_key: public_key(store)?, certificate })
    }

    fn read_certificate(&mut self, store: &mut impl FactoryStore) -> Result<Digest, Code> {
        read(&mut self.certificate, |buffer| store.read_certificate(buffer))
    }

    fn read_trust(&mut self, store: &mut impl FactoryStore) -> Result<Digest, Code> {
        read(&mut self.trust, |buffer| store.read_trust(buffer))
    }
}

fn make_key(store: &mut impl FactoryStore, rng: &mut impl CryptoRngCore) -> Result<Answer<'static>, Code> {
    if stage(store)? == Stage::Empty {
        store.make_key(rng).map_err(storage)?;
    }
    expect(Stage::Keyed, store)?;
    Ok(Answer::Key { public_key: public_key(store)? })
}

fn append<const N: usize>(part: &mut Vec<u8, N>, offset: usize, bytes: &[u8]) -> Result<u16, Code> {
    if offset.checked_add(bytes.len()).is_none_or(|end| end > N) {
        return Err(Code::MessageOversized);
    }
    if offset == 0 {
        part.clear();
    }
    // Anywhere else than at its end: a repetition, or a station that lost count. It hears where the board stands.
    if offset == part.len() {
        part.extend_from_slice(bytes).map_err(|_| Code::MessageOversized)?;
    }
    u16::try_from(part.len()).map_err(|_| Code::MessageOversized)
}

fn read<const N: usize>(
    part: &mut Vec<u8, N>,
    from: impl FnOnce(&mut [u8]) -> Result<usize, StoreError>,
) -> Result<Digest, Code> {
    part.resize_default(N).map_err(|_| Code::FactoryStorage)?;
    let length = from(part).unwrap_or(0);
    part.truncate(length);
    if part.is_empty() { Err(Code::FactoryStorage) } else { Ok(Digest::of(part)) }
}

fn stage(store: &mut impl FactoryStore) -> Result<Stage, Code> {
    store.stage().map_err(storage)
}

/// Refuses with what is in the way when the board is not in this stage.
fn expect(expected: Stage, store: &mut impl FactoryStore) -> Result<(), Code> {
    match stage(store)? {
        found if found == expected => Ok(()),
        Stage::Locked => Err(Code::FactoryLocked),
        Stage::Written => Err(Code::FactoryWritten),
        Stage::Empty | Stage::Keyed => Err(Code::MessageUnexpected),
    }
}

fn public_key(store: &mut impl FactoryStore) -> Result<muster_protocol::pki::PublicKey, Code> {
    store.public_key().map_err(storage)?.ok_or(Code::FactoryStorage)
}

const fn storage(StoreError: StoreError) -> Code {
    Code::FactoryStorage
}

fn answer(sequence: u16, outcome: Result<Answer<'_>, Code>) -> Encoded {
    let answer = outcome.unwrap_or_else(|code| Answer::Refused { code });
    // Every answer fits: the longest is a CSR, and the bound is made for it.
    encode(sequence, &answer).unwrap_or_default()
}
