//! The device's end of the world: power, boot, and everything that the core wants done.

use std::sync::Arc;

use muster_protocol::device::{Credential, Failure, Input, Output};
use muster_protocol::pki::{Certificate, GatewayClock, VerifiedGateway, verify_gateway};
use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::Item;
use muster_protocol::time::Millis;

use crate::event::{Down, Epoch, Event, Local};
use crate::flash::FlashError;
use crate::invariant;
use crate::test_pki::{HOST, memory};
use crate::world::World;

/// What the core wants done, taken out of its borrow.
enum Effect {
    Persist(Item, Vec<u8>),
    GenerateKey(SlotId),
    Sign(SlotId, Vec<u8>),
    WipeKey(SlotId),
    Connect(Credential),
    Disconnect,
    Send(Vec<u8>),
    FetchBundle,
    Restart,
    Event(muster_protocol::device::Event),
}

impl From<Output<'_>> for Effect {
    fn from(output: Output<'_>) -> Self {
        match output {
            Output::Persist { item, bytes } => Self::Persist(item, bytes.to_vec()),
            Output::GenerateKey(slot) => Self::GenerateKey(slot),
            Output::Sign { slot, message } => Self::Sign(slot, message.to_vec()),
            Output::WipeKey(slot) => Self::WipeKey(slot),
            Output::Connect(credential) => Self::Connect(credential),
            Output::Disconnect => Self::Disconnect,
            Output::Send(bytes) => Self::Send(bytes.to_vec()),
            Output::FetchBundle => Self::FetchBundle,
            Output::Restart => Self::Restart,
            Output::Event(event) => Self::Event(event),
        }
    }
}

/// More outputs than any one input asks for.
const OUTPUTS_MAX: u32 = 64;
const RESTART_MILLIS: u64 = 1_000;

impl World {
    /// Boots a device that has no power; nothing happens to one that has.
    pub(crate) fn power_on(&mut self, device: usize) {
        if self.boards[device].core.is_some() || self.now < self.boards[device].dark_until {
            return;
        }
        self.history.note(self.now, self.pki.devices[device].identity.name(), format_args!("power on"));
        self.boot(device);
    }

    fn boot(&mut self, device: usize) {
        let board = &mut self.boards[device];
        board.boot += 1;
        board.booted_at = self.now;
        board.connects.clear();
        board.issued.clear();
        board.timer += 1;
        board.timer_at = None;
        board.answers_until = self.now;
        let core = board.boot_core(self.pki, self.plan.settings, self.now).map(Box::new);
        board.core = core;
        if self.boards[device].core.is_none() {
            self.violated("trust_is_never_lost", format!("dev-{device} has no readable trust bundle"));
            return;
        }
        self.drain(device);
    }

    /// The power goes, wherever the device is.
    pub(crate) fn power_lost(&mut self, device: usize) {
        let millis_max = self.faults.dark_millis_max.max(1_000);
        let millis = if self.random.happens(700) { millis_max.min(120_000) } else { millis_max };
        let wait = self.random.between(100, millis);
        self.go_dark(device, wait);
    }

    /// No power for longer than certificates last.
    pub(crate) fn long_sleep(&mut self, device: usize) {
        let millis = self.plan.long_sleep_millis.unwrap_or(1);
        self.go_dark(device, millis);
        // It may have been without power already.
        self.boards[device].dark_until = self.now.plus(millis);
        self.queue.push(self.now.plus(millis), Event::PowerOn(device));
    }

    fn go_dark(&mut self, device: usize, millis: u64) {
        if self.boards[device].core.take().is_none() {
            return;
        }
        self.history.note(self.now, self.pki.devices[device].identity.name(), format_args!("power off"));
        self.vanish(device);
        self.boards[device].boot += 1;
        self.boards[device].timer += 1;
        self.queue.push(self.now.plus(millis), Event::PowerOn(device));
    }

    /// The timer that the core asked for.
    pub(crate) fn timer(&mut self, device: usize, setting: u64) {
        if self.boards[device].timer == setting {
            self.boards[device].timer_at = None;
            self.input(device, Input::Timeout);
        }
    }

    /// An answer from inside the device.
    pub(crate) fn local(&mut self, device: usize, boot: u64, what: Local) {
        if self.boards[device].boot != boot {
            return;
        }
        match what {
            Local::Persisted => self.input(device, Input::Persisted),
            Local::PersistFailed => self.input(device, Input::PersistFailed),
            Local::KeyGenerated(slot, public_key) => self.input(device, Input::KeyGenerated { slot, public_key }),
            Local::KeyFailed => self.input(device, Input::KeyFailed),
            Local::Signed(signature) => self.input(device, Input::Signed(signature)),
            Local::Fetched if self.gateway.is_up() && self.boards[device].online => {
                let bundle = self.gateway.bundle(self.pki);
                self.input(device, Input::Bundle(&bundle));
            }
            Local::Fetched => {}
            Local::Restart => {
                self.vanish(device);
                self.boards[device].core = None;
                self.boot(device);
            }
        }
    }

    /// What the network brings.
    pub(crate) fn down(&mut self, device: usize, epoch: Epoch, what: Down) {
        let board = &mut self.boards[device];
        if !board.is_on(epoch) {
            return;
        }
        match what {
            Down::Connected(gateway) => {
                if board.line.is_whole() && board.line.is_attempt() {
                    board.line.opened();
                    self.input(device, Input::Connected(*gateway));
                }
            }
            Down::Lost(failure) => {
                let attempt = board.line.is_attempt();
                self.vanish(device);
                self.history.note(self.now, self.name(device), format_args!("link lost: {failure:?}"));
                let input = if attempt { Input::ConnectFailed(failure) } else { Input::Disconnected(failure) };
                self.input(device, input);
            }
            Down::Message(bytes) => {
                if board.line.open().is_some() {
                    invariant::no_private_key_in(self, "a message to a device", &bytes);
                    self.input(device, Input::Message(&bytes));
                }
            }
        }
    }

    /// Somebody at the device wants its key rotated.
    pub(crate) fn owner_wants_rotation(&mut self, device: usize) {
        self.input(device, Input::Rotate);
    }

    /// Somebody at the device wants it retired.
    pub(crate) fn owner_retires(&mut self, device: usize) {
        if self.boards[device].core.is_some() {
            self.history.note(self.now, self.name(device), format_args!("is retired by its owner"));
            self.boards[device].owner_retired = true;
            self.input(device, Input::Retire);
        }
    }

    pub(crate) fn name(&self, device: usize) -> &'static str {
        self.pki.devices[device].identity.name().as_str()
    }

    /// Gives the core one input and does what it wants done.
    pub(crate) fn input(&mut self, device: usize, input: Input<'_>) {
        let now = self.boards[device].now(self.now);
        if let Some(core) = &mut self.boards[device].core {
            core.handle_input(now, input);
            self.drain(device);
        }
    }

    fn drain(&mut self, device: usize) {
        for _ in 0..OUTPUTS_MAX {
            let Some(core) = &mut self.boards[device].core else {
                return;
            };
            let Some(effect) = core.poll_output().map(Effect::from) else {
                self.set_timer(device);
                self.notice_operational(device);
                return;
            };
            self.effect(device, effect);
        }
        self.violated("outputs_end", format!("dev-{device} has more than {OUTPUTS_MAX} outputs for one input"));
    }

    fn effect(&mut self, device: usize, effect: Effect) {
        let name = self.name(device);
        match effect {
            Effect::Persist(item, bytes) => self.persist(device, item, &bytes),
            Effect::GenerateKey(slot) => self.generate_key(device, slot),
            Effect::Sign(slot, message) => {
                let failed = self.random.happens(self.faults.key_fails_per_mille);
                let answer = match self.boards[device].flash.key(slot) {
                    Some(key) if !failed => Local::Signed(memory::sign(key, &message)),
                    _ => Local::KeyFailed,
                };
                self.answer(device, answer);
            }
            Effect::WipeKey(slot) => {
                self.history.note(self.now, name, format_args!("wipes key {}", slot.name()));
                self.cut_perhaps(device, 1);
                if self.boards[device].flash.wipe_key(slot).is_err() {
                    self.power_lost(device);
                }
            }
            Effect::Connect(credential) => self.connect(device, credential),
            Effect::Disconnect => self.hang_up(device),
            Effect::Send(bytes) => {
                invariant::at_send(self, device, &bytes);
                self.send_up(device, &bytes);
            }
            Effect::FetchBundle => {
                let at = self.now.plus(self.latency() * 4);
                let boot = self.boards[device].boot;
                self.queue.push(at, Event::Local { device, boot, what: Local::Fetched });
            }
            Effect::Restart => {
                let boot = self.boards[device].boot;
                let at = self.now.plus(RESTART_MILLIS);
                self.queue.push(at, Event::Local { device, boot, what: Local::Restart });
            }
            Effect::Event(event) => self.history.note(self.now, name, format_args!("{event:?}")),
        }
    }

    fn persist(&mut self, device: usize, item: Item, bytes: &[u8]) {
        invariant::no_private_key_in(self, "a stored record", bytes);
        self.cut_perhaps(device, bytes.len() as u64 + 1);
        if self.random.happens(self.faults.write_fails_per_mille) {
            self.boards[device].flash.fail_next();
        }
        let written = self.boards[device].flash.write(item, bytes);
        self.history.note(self.now, self.name(device), format_args!("stores {item:?}: {written:?}"));
        self.boards[device].refresh();
        if let Some(core) = &mut self.boards[device].core
            && let Some(output) = core.poll_output()
        {
            let text = format!("dev-{device} gave {output:?} while {item:?} was being stored");
            self.violated("nothing_passes_the_barrier", text);
        }
        match written {
            Ok(()) => self.answer(device, Local::Persisted),
            Err(FlashError::WornOut) => self.answer(device, Local::PersistFailed),
            Err(FlashError::PowerCut) => self.power_lost(device),
        }
    }

    fn generate_key(&mut self, device: usize, slot: SlotId) {
        if self.random.happens(self.faults.key_fails_per_mille) {
            return self.answer(device, Local::KeyFailed);
        }
        let key = self.pki.pool_key(self.plan.seed as usize, self.keys_made);
        self.keys_made += 1;
        let public_key = *key.public();
        self.history.note(self.now, self.name(device), format_args!("makes key {}", slot.name()));
        self.cut_perhaps(device, 33);
        match self.boards[device].flash.write_key(slot, key) {
            Ok(()) => self.answer(device, Local::KeyGenerated(slot, public_key)),
            Err(_) => self.power_lost(device),
        }
    }

    /// Sets a cut within the next bytes that are made durable, if one is due.
    fn cut_perhaps(&mut self, device: usize, bytes: u64) {
        if self.random.happens(self.faults.cut_in_write_per_mille) {
            let within = self.random.below(bytes);
            let power = &mut self.boards[device].flash.power;
            power.cut_at(power.written() + within);
        }
    }

    /// The store or the key store answers: at once, as most do, or after a while.
    fn answer(&mut self, device: usize, what: Local) {
        let boot = self.boards[device].boot;
        let slow = self.random.happens(self.faults.slow_answer_per_mille);
        let wait = if slow { self.random.between(1, 40_000) } else { 0 };
        let at = self.now.plus(wait).max(self.boards[device].answers_until);
        self.boards[device].answers_until = at;
        if at > self.now {
            self.queue.push(at, Event::Local { device, boot, what });
            return;
        }
        let now = self.boards[device].now(self.now);
        if let Some(core) = &mut self.boards[device].core {
            match what {
                Local::Persisted => core.handle_input(now, Input::Persisted),
                Local::PersistFailed => core.handle_input(now, Input::PersistFailed),
                Local::KeyGenerated(slot, public_key) => {
                    core.handle_input(now, Input::KeyGenerated { slot, public_key });
                }
                Local::KeyFailed => core.handle_input(now, Input::KeyFailed),
                Local::Signed(signature) => core.handle_input(now, Input::Signed(signature)),
                Local::Restart | Local::Fetched => {}
            }
        }
    }

    fn connect(&mut self, device: usize, credential: Credential) {
        self.history.note(self.now, self.name(device), format_args!("connects with {credential:?}"));
        invariant::at_connect(self, device, credential);
        self.epochs += 1;
        let epoch = self.epochs;
        let certificate = self.boards[device].certificate(self.pki, credential);
        self.boards[device].line.attempt(epoch, credential);
        let Some(certificate) = certificate else {
            return self.violated("connects_with_a_certificate", format!("dev-{device} has none in {credential:?}"));
        };
        if !self.boards[device].online || self.random.happens(self.faults.connect_fails_per_mille) {
            self.break_line(device);
            return;
        }
        let at = self.now.plus(self.latency() * 2);
        self.queue.push(at, Event::Arrival { device, epoch, certificate });
    }

    /// The device's half of a handshake: whether it takes the gateway for what it says it is.
    pub(crate) fn verify_gateway(&self, device: usize) -> Result<VerifiedGateway, Failure> {
        let board = &self.boards[device];
        let (Some(core), Some(trust)) = (&board.core, board.trust(self.pki)) else {
            return Err(Failure::Unreachable);
        };
        let server: Arc<Vec<u8>> = self.gateway.server_certificate(self.pki, self.now);
        let clock = GatewayClock { floor: core.clock_floor(), civil: board.now(self.now).civil };
        let cas: Vec<&[u8]> = trust.gateway_cas.iter().map(Vec::as_slice).collect();
        verify_gateway(&[&server], &cas, HOST, clock, &[&*memory::DEVICE]).map_err(Failure::GatewayUntrusted)
    }

    /// Whether the key store has the key of a certificate: without it there is no handshake.
    pub(crate) fn holds_key_of(&self, device: usize, certificate: &[u8]) -> bool {
        let Some(key) = Certificate::parse(certificate).ok().and_then(|leaf| leaf.public_key().ok()) else {
            return false;
        };
        let flash = &self.boards[device].flash;
        let own = *self.pki.devices[device].key.public() == key;
        own || SlotId::BOTH.iter().any(|slot| flash.key(*slot).is_some_and(|held| *held.public() == key))
    }

    /// Loses the network for a while.
    pub(crate) fn offline(&mut self, device: usize) {
        if self.faults.offline_every_millis == 0 {
            return;
        }
        self.history.note(self.now, self.name(device), format_args!("network lost"));
        self.boards[device].online = false;
        self.break_line(device);
        let wait = self.random.between(1_000, self.faults.offline_millis_max.max(1_000));
        self.queue.push(self.now.plus(wait), Event::Online(device));
        let next = self.random.between(1, self.faults.offline_every_millis * 2);
        self.queue.push(self.now.plus(wait + next), Event::Offline(device));
    }

    /// The network is back.
    pub(crate) fn online(&mut self, device: usize) {
        self.boards[device].online = true;
    }

    /// The civil clock of a device is set: right, or wrong.
    pub(crate) fn clock_step(&mut self, device: usize) {
        let max = self.faults.clock_error_secs_max;
        let error = match self.random.below(4) {
            0 => Some(self.random.between(0, max) as i64),
            1 => Some(-(self.random.between(0, max * 20) as i64)),
            _ => Some(0),
        };
        if self.boards[device].clock_error_secs.is_some() {
            self.boards[device].clock_error_secs = error;
            self.history.note(self.now, self.name(device), format_args!("clock is off by {error:?}"));
        }
    }

    /// Remembers when a device was operational with a session.
    pub(crate) fn notice_operational(&mut self, device: usize) {
        if invariant::is_operational(&self.boards[device]) {
            self.boards[device].operational_at = Some(self.now);
        }
    }

    fn set_timer(&mut self, device: usize) {
        let early = self.random.happens(self.faults.early_timer_per_mille);
        let board = &mut self.boards[device];
        let Some(core) = &board.core else {
            return;
        };
        let Some(Millis(uptime)) = core.poll_timeout() else {
            board.timer += 1;
            board.timer_at = None;
            return;
        };
        let mut at = board.booted_at.plus(uptime).max(self.now);
        if early {
            at = self.now.plus(self.random.below(at.since(self.now) + 1));
        }
        if board.timer_at == Some(at) {
            return;
        }
        board.timer += 1;
        board.timer_at = Some(at);
        let setting = board.timer;
        self.queue.push(at, Event::Timer { device, setting });
    }
}
