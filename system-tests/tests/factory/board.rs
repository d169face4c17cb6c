//! A board: what stays when its power goes (flash, lock), and what does not.

use std::cell::Cell;
use std::rc::Rc;

use embedded_storage::nor_flash::ReadNorFlash as _;
use muster_agent_nostd::factory::{About, After, Factory, FactoryStore as _, FlashStore, Stage};
use muster_agent_nostd::platform::{IdentityLock, LockError};
use muster_agent_nostd::slots::{Slots, partition_bytes};
use muster_protocol::message::factory::frame::{FrameReader, frame};
use muster_protocol::pki::PublicKey;
use rand_core::{CryptoRng, RngCore, impls};

use crate::nor::{Nor, Torn};

/// The product of every board here.
pub(crate) const PRODUCT: &str = "lamp";

/// A board with words of `W` bytes.
pub(crate) struct Board<const W: usize> {
    pub(crate) flash: Nor<W, W, 4096>,
    pub(crate) lock: Lock,
    rng: Seeded,
    about: About,
    /// `None` while the power is off.
    running: Option<Running<W>>,
    /// Cuts that are still to come, counted from the one before.
    cuts: Vec<(u64, Torn)>,
    pub(crate) boots: u32,
}

struct Running<const W: usize> {
    slots: Slots<Nor<W, W, 4096>>,
    factory: Factory,
    reader: FrameReader,
}

/// The chip's lock; it holds without power.
#[derive(Clone, Default)]
pub(crate) struct Lock(pub(crate) Rc<Cell<bool>>);

impl IdentityLock for Lock {
    fn is_locked(&mut self) -> bool {
        self.0.get()
    }

    fn lock(&mut self) -> Result<(), LockError> {
        self.0.set(true);
        Ok(())
    }
}

impl<const W: usize> Board<W> {
    pub(crate) fn blank(seed: u64) -> Self {
        let about = About {
            product: PRODUCT.try_into().unwrap(),
            board: "simulated".try_into().unwrap(),
            agent: "0.1.0".try_into().unwrap(),
        };
        Self {
            flash: Nor::new(partition_bytes::<Nor<W, W, 4096>>() as usize),
            lock: Lock::default(),
            rng: Seeded(seed),
            about,
            running: None,
            cuts: Vec::new(),
            boots: 0,
        }
    }

    pub(crate) fn with_product(mut self, product: &str) -> Self {
        self.about.product = product.try_into().unwrap();
        self
    }

    /// Lets the power go after so many words programmed or units erased, then again after so many more.
    pub(crate) fn cut(&mut self, cuts: &[(u64, Torn)]) {
        self.cuts = cuts.iter().rev().copied().collect();
        self.next_cut();
    }

    fn next_cut(&mut self) {
        if let Some((after, torn)) = self.cuts.pop() {
            self.flash.cut_after(after, torn);
        }
    }

    /// The power goes now.
    pub(crate) fn unplug(&mut self) {
        self.running = None;
    }

    /// Boots when it is off. What it says first comes back.
    pub(crate) fn plug(&mut self) -> Vec<u8> {
        while self.running.is_none() {
            self.boots += 1;
            if is_dark(&self.flash) {
                self.flash.power_back();
                self.next_cut();
            }
            let Ok(mut slots) = Slots::open(self.flash.clone(), 0) else { continue };
            let mut factory = Factory::new(self.about.clone());
            let mut store = FlashStore::new(&mut slots, &mut self.lock);
            // As a board's main does: locks again, then says who it is.
            if factory.begin(&mut store).is_err() {
                continue;
            }
            let said = factory.announce(&mut store);
            self.running = Some(Running { slots, factory, reader: FrameReader::new() });
            return frame(&said).to_vec();
        }
        Vec::new()
    }

    /// Takes bytes off the line; what it says comes back. It boots again when its power goes or the station is done.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut said = self.plug();
        for byte in bytes {
            let Some(running) = &mut self.running else { break };
            let Running { slots, factory, reader } = running;
            let Some(message) = reader.push(*byte) else { continue };
            let mut store = FlashStore::new(slots, &mut self.lock);
            let (answer, after) = factory.handle(message, &mut store, &mut self.rng);
            if is_dark(&self.flash) {
                self.running = None;
                said.extend(self.plug());
                break;
            }
            said.extend_from_slice(&frame(&answer));
            if after == After::Leave {
                self.running = None;
                said.extend(self.plug());
                break;
            }
        }
        said
    }

    /// What is in its flash, with the power on.
    pub(crate) fn look(&mut self) -> (Stage, Option<PublicKey>, Vec<u8>, Vec<u8>) {
        self.cuts.clear();
        self.flash.power_back();
        let mut slots = Slots::open(self.flash.clone(), 0).unwrap();
        let mut store = FlashStore::new(&mut slots, &mut self.lock);
        let (stage, key) = (store.stage().unwrap(), store.public_key().unwrap());
        let (mut certificate, mut trust) = (vec![0; 4096], vec![0; 4096]);
        let length = store.read_certificate(&mut certificate).unwrap_or(0);
        certificate.truncate(length);
        let length = store.read_trust(&mut trust).unwrap_or(0);
        trust.truncate(length);
        (stage, key, certificate, trust)
    }
}

pub(crate) fn is_dark<const W: usize>(flash: &Nor<W, W, 4096>) -> bool {
    flash.clone().read(0, &mut [0; W]).is_err()
}

/// The same keys for the same seed.
pub(crate) struct Seeded(pub(crate) u64);

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut random = muster_system_tests::random::Random::new(self.0);
        self.0 = random.next();
        random.next()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        impls::fill_bytes_via_next(self, out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Seeded {}
