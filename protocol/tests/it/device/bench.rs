//! A device on a bench: it gets its inputs by hand, its store and key store answer at once and remember.

use muster_protocol::device::{Boot, Credential, Device, Event, Input, LifeRecord, Output, Settings, StateName};
use muster_protocol::message::{self, Down, Issued, Up, Welcome};
use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock, PublicKey, Serial, VerifiedGateway, verify_gateway};
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{SlotId, SlotRecord};
use muster_protocol::time::{Millis, Now};
use muster_protocol::{Code, UnixTime};

use crate::documents;
use crate::pki::maker::{Ca, DAY, Key, NOW, Recipe, World, device};

/// Something that came out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    Stored(Item),
    MadeKey(SlotId),
    Wiped(SlotId),
    Connect(Credential),
    Disconnect,
    Hello,
    Request,
    Confirm(Serial),
    Retire,
    FetchBundle,
    Restart,
    Event(Event),
}

pub(crate) struct Bench {
    pub(crate) device: Device,
    pub(crate) uptime: u64,
    pub(crate) civil: Option<UnixTime>,
    pub(crate) slots: [Option<SlotRecord>; 2],
    pub(crate) keys: [Option<Key>; 2],
    pub(crate) life: LifeRecord,
    pub(crate) store_fails: bool,
    pub(crate) key_store_fails: bool,
    next_key: u8,
    device_ca: Ca,
    gateway: VerifiedGateway,
}

impl Bench {
    /// A device as the factory made it, before it is looked at.
    pub(crate) fn new() -> Self {
        Self::stored([None, None], [None, None])
    }

    /// A device with these records and keys.
    pub(crate) fn stored(slots: [Option<SlotRecord>; 2], keys: [Option<Key>; 2]) -> Self {
        let world = World::new();
        let (life, civil) = (LifeRecord::default(), Some(NOW));
        let mut bench = Self {
            device: boot(&slots, &keys, life, Now { uptime: Millis(0), civil }),
            uptime: 0,
            civil,
            slots,
            keys,
            life,
            store_fails: false,
            key_store_fails: false,
            next_key: 100,
            gateway: gateway(&world),
            device_ca: world.device_ca,
        };
        bench.boot();
        bench
    }

    /// Starts it again from what is stored.
    pub(crate) fn boot(&mut self) -> Vec<Seen> {
        self.device = boot(&self.slots, &self.keys, self.life, self.now());
        self.drain()
    }

    pub(crate) fn now(&self) -> Now {
        Now { uptime: Millis(self.uptime), civil: self.civil }
    }

    /// Gives one input; says what came of it.
    pub(crate) fn give(&mut self, input: Input<'_>) -> Vec<Seen> {
        self.device.handle_input(self.now(), input);
        self.drain()
    }

    /// Waits until the device wants to be called.
    pub(crate) fn wait(&mut self) -> Vec<Seen> {
        let Millis(at) = self.device.poll_timeout().expect("it waits for nothing");
        self.uptime = self.uptime.max(at);
        self.give(Input::Timeout)
    }

    pub(crate) fn hears(&mut self, message: &Down<'_>) -> Vec<Seen> {
        let bytes = message::encode(message).unwrap();
        self.give(Input::Message(&bytes))
    }

    pub(crate) fn connected(&mut self) -> Vec<Seen> {
        let gateway = self.gateway.clone();
        self.give(Input::Connected(gateway))
    }

    pub(crate) fn welcomed(&mut self, order: Option<u32>) -> Vec<Seen> {
        self.hears(&Down::Welcome(Welcome { time: NOW, bundle: 1, order }))
    }

    pub(crate) fn refused(&mut self, code: Code) -> Vec<Seen> {
        self.hears(&Down::Refused(message::Refused { code, retry_after_secs: 0 }))
    }

    /// A certificate for the key in a slot.
    pub(crate) fn certificate(&self, slot: SlotId, serial: u8) -> Vec<u8> {
        let key = self.keys[slot.index()].as_ref().unwrap();
        Recipe::client("urn:muster:acme:dev-1").serial(&[serial; 16]).signed_by(key, &self.device_ca)
    }

    pub(crate) fn issued(&mut self, certificate: &[u8]) -> Vec<Seen> {
        self.hears(&Down::Issued(Issued { certificate, time: NOW }))
    }

    /// Enrolled, confirmed, connected and welcomed, on slot A.
    pub(crate) fn operational() -> Self {
        let mut bench = Self::new();
        bench.connected();
        bench.welcomed(None);
        let certificate = bench.certificate(SlotId::A, 0x11);
        bench.issued(&certificate);
        bench.confirm(SlotId::A);
        assert_eq!(bench.device.state(), StateName::Operational);
        bench
    }

    /// Operational on A, with a certificate for B that was issued and never tried.
    pub(crate) fn confirming() -> Self {
        let mut bench = Self::operational();
        bench.give(Input::Rotate);
        let certificate = bench.certificate(SlotId::B, 0x22);
        bench.issued(&certificate);
        assert_eq!(bench.device.state(), StateName::Confirming);
        bench
    }

    /// The trial of a slot's candidate succeeds.
    pub(crate) fn confirm(&mut self, slot: SlotId) {
        self.connected();
        self.welcomed(None);
        let serial = serial(&self.slots[slot.index()]);
        self.hears(&Down::Confirmed { serial });
        self.welcomed(None);
    }

    fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(output) = self.device.poll_output() {
            match output {
                Output::Persist { item, bytes } => {
                    let bytes = bytes.to_vec();
                    seen.push(Seen::Stored(item));
                    assert!(self.device.poll_output().is_none(), "something came out behind {item:?}");
                    let answer = if self.store_fails { Input::PersistFailed } else { self.store(item, &bytes) };
                    self.device.handle_input(self.now(), answer);
                }
                Output::GenerateKey(slot) => {
                    seen.push(Seen::MadeKey(slot));
                    let answer = self.make_key(slot);
                    self.device.handle_input(self.now(), answer);
                }
                Output::Sign { slot, message } => {
                    let signature = self.keys[slot.index()].as_ref().unwrap().sign_bytes(message);
                    self.device.handle_input(self.now(), Input::Signed(signature));
                }
                Output::WipeKey(slot) => {
                    self.keys[slot.index()] = None;
                    seen.push(Seen::Wiped(slot));
                }
                Output::Connect(credential) => seen.push(Seen::Connect(credential)),
                Output::Disconnect => seen.push(Seen::Disconnect),
                Output::Send(bytes) => seen.push(match message::decode_up(bytes).unwrap() {
                    Up::Hello(_) => Seen::Hello,
                    Up::Request { .. } => Seen::Request,
                    Up::Confirm { serial } => Seen::Confirm(serial),
                    Up::Retire => Seen::Retire,
                }),
                Output::FetchBundle => seen.push(Seen::FetchBundle),
                Output::Restart => seen.push(Seen::Restart),
                Output::Event(event) => seen.push(Seen::Event(event)),
            }
        }
        seen
    }

    fn store(&mut self, item: Item, bytes: &[u8]) -> Input<'static> {
        match item {
            Item::Slot(slot) => self.slots[slot.index()] = SlotRecord::decode(bytes),
            Item::Life => self.life = LifeRecord::decode(bytes).unwrap(),
            Item::Trust => {}
        }
        Input::Persisted
    }

    fn make_key(&mut self, slot: SlotId) -> Input<'static> {
        if self.key_store_fails {
            return Input::KeyFailed;
        }
        self.next_key += 1;
        let key = Key::new(self.next_key);
        let public_key = key.public();
        self.keys[slot.index()] = Some(key);
        Input::KeyGenerated { slot, public_key }
    }
}

pub(crate) fn serial(record: &Option<SlotRecord>) -> Serial {
    let certificate = &record.as_ref().unwrap().certificate;
    muster_protocol::pki::Certificate::parse(certificate).unwrap().serial().clone()
}

fn boot(slots: &[Option<SlotRecord>; 2], keys: &[Option<Key>; 2], life: LifeRecord, now: Now) -> Device {
    let key = |slot: SlotId| -> Option<PublicKey> { keys[slot.index()].as_ref().map(Key::public) };
    let boot = Boot {
        identity: device(),
        slots: slots.clone(),
        keys: SlotId::BOTH.map(key),
        life,
        built_at: UnixTime(NOW.0 - 100 * DAY),
        pins: documents::pins(&documents::root(), &documents::backup()),
        bundle: 1,
        policy: muster_protocol::trust::Policy::default(),
        settings: Settings::default(),
        seed: 42,
        agent: "bench".try_into().unwrap(),
    };
    Device::boot(boot, now)
}

fn gateway(world: &World) -> VerifiedGateway {
    let server = Recipe::server(&["gw.acme.example"]).signed_by(&Key::new(9), &world.gateway_ca);
    let clock = GatewayClock { floor: UnixTime(0), civil: Some(NOW) };
    verify_gateway(&[&server], &[&world.gateway_ca.der], "gw.acme.example", clock, &[ECDSA_P256_SHA256]).unwrap()
}
