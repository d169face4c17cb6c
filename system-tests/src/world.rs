//! The simulated world: devices, a gateway, a network between them, one virtual clock, one source of chance.
//!
//! The cores are the real ones, and so are keys, certificates and checks. The world does what the shells do around
//! them, badly: it cuts power, loses messages, crashes the gateway. The same plan gives the same history.

use muster_protocol::time::Millis;

use crate::board::Board;
use crate::event::{Event, Queue};
use crate::gateway::Gateway;
use crate::history::History;
use crate::invariant::{self, Violation};
use crate::plan::{Faults, LIVENESS_MILLIS_MAX, Plan};
use crate::random::Random;
use crate::test_pki::TestPki;

/// Everything there is.
pub struct World {
    /// The virtual clock: milliseconds since the start of the history.
    pub now: Millis,
    /// The devices.
    pub boards: Vec<Board>,
    /// The gateway.
    pub gateway: Gateway,
    /// What happened.
    pub history: History,
    /// The plan.
    pub plan: Plan,
    /// The faults in force; none once it is calm.
    pub(crate) faults: Faults,
    pub(crate) queue: Queue,
    pub(crate) random: Random,
    pub(crate) pki: &'static TestPki,
    pub(crate) epochs: u64,
    pub(crate) keys_made: usize,
    /// Since when there are no faults.
    pub calm_since: Option<Millis>,
    violation: Option<Violation>,
    events: u64,
    moments: u32,
}

/// How a history went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Names the history.
    pub hash: u64,
    /// Events that happened.
    pub events: u64,
    /// Bytes made durable by the first device.
    pub written: u64,
    /// Certificates issued.
    pub issued: usize,
    /// The broken invariant, if there is one.
    pub violation: Option<Violation>,
}

/// More events than any one millisecond has, unless something asks to be called again at once.
const EVENTS_PER_MOMENT_MAX: u32 = 500;

impl World {
    /// A world before its first event.
    #[must_use]
    pub fn new(plan: Plan, history: History) -> Self {
        let pki = TestPki::shared();
        let mut random = Random::new(plan.seed ^ 0xb0a4_d5ee);
        let fleet_file = pki.fleet_file(&pki.bundle(1, 0, 0));
        let boards: Vec<_> = (0..plan.devices)
            .map(|index| Board::new(index, plan.flash, &fleet_file, (!random.happens(250)).then_some(0)))
            .collect();
        let mut world = Self {
            now: Millis(0),
            gateway: Gateway::new(pki, plan.devices),
            faults: plan.faults.clone(),
            boards,
            history,
            plan,
            queue: Queue::default(),
            random,
            pki,
            epochs: 0,
            keys_made: 0,
            calm_since: None,
            violation: None,
            events: 0,
            moments: 0,
        };
        world.set_the_scene();
        world
    }

    /// Runs to the end, or to the first broken invariant.
    pub fn run(&mut self) -> Outcome {
        while self.violation.is_none()
            && let Some((at, event)) = self.queue.pop()
        {
            if matches!(event, Event::End) {
                break;
            }
            self.moments = if at > self.now { 0 } else { self.moments + 1 };
            self.now = self.now.max(at);
            self.events += 1;
            if self.moments > EVENTS_PER_MOMENT_MAX {
                self.violated("time_passes", format!("{event:?} and so many before it happen at one moment"));
            }
            self.happen(event);
            self.check();
        }
        Outcome {
            hash: self.history.hash(),
            events: self.events,
            written: self.boards[0].flash.power.written(),
            issued: self.gateway.registry.issued(),
            violation: self.violation.clone(),
        }
    }

    /// Records a broken invariant; the first one counts.
    pub(crate) fn violated(&mut self, invariant: &'static str, text: String) {
        if self.violation.is_none() {
            self.history.note(self.now, "world", format_args!("VIOLATED {invariant}: {text}"));
            self.violation = Some(Violation { invariant, at: self.now, text });
        }
    }

    fn check(&mut self) {
        for board in &mut self.boards {
            board.refresh();
        }
        for (name, invariant) in invariant::ALWAYS {
            if let Err(text) = invariant(self) {
                self.violated(name, text);
                return;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        if self.calm_since.is_some() && event.is_fault() {
            return;
        }
        match event {
            Event::PowerOn(device) => self.power_on(device),
            Event::PowerCut(device) => {
                self.power_lost(device);
                self.again(self.faults.cut_every_millis, Event::PowerCut(device));
            }
            Event::LongSleep(device) => self.long_sleep(device),
            Event::Timer { device, setting } => self.timer(device, setting),
            Event::Local { device, boot, what } => self.local(device, boot, what),
            Event::Arrival { device, epoch, certificate } => self.arrival(device, epoch, &certificate),
            Event::Down { device, epoch, what } => self.down(device, epoch, what),
            Event::Up { device, epoch, what } => self.up(device, epoch, what),
            Event::SessionEnds { device, epoch } => self.session_ends(device, epoch),
            Event::LinkBreaks(device) => {
                self.break_line(device);
                self.again(self.faults.link_breaks_every_millis, Event::LinkBreaks(device));
            }
            Event::Offline(device) => self.offline(device),
            Event::Online(device) => self.online(device),
            Event::GatewayCrash => {
                self.gateway_crash();
                self.again(self.faults.gateway_crash_every_millis, Event::GatewayCrash);
            }
            Event::GatewayUp => self.gateway_up(),
            Event::Distrust => self.distrust(),
            Event::TrustAgain => self.gateway.trusts_device_ca = true,
            Event::Operator => {
                self.operator_acts();
                self.again(self.faults.operator_every_millis, Event::Operator);
            }
            Event::Order(order) => self.operate(order.device, order.act),
            Event::Owner(device) => {
                self.owner_wants_rotation(device);
                self.again(self.faults.owner_every_millis, Event::Owner(device));
            }
            Event::OwnerRetires(device) => self.owner_retires(device),
            Event::Rollover => {
                self.rollover();
                self.again(self.faults.rollover_every_millis, Event::Rollover);
            }
            Event::ClockStep(device) => {
                self.clock_step(device);
                self.again(self.faults.clock_step_every_millis, Event::ClockStep(device));
            }
            Event::Calm => self.calm(),
            Event::Deadline => {
                if let Err(text) = invariant::everybody_is_operational(self) {
                    self.violated("everybody_is_operational", text);
                }
            }
            Event::End => {}
        }
    }

    /// Puts the first events in.
    fn set_the_scene(&mut self) {
        let faults = self.faults.clone();
        for device in 0..self.boards.len() {
            let at = Millis(self.random.between(0, 5_000));
            self.queue.push(at, Event::PowerOn(device));
            for (every, event) in [
                (faults.cut_every_millis, Event::PowerCut(device)),
                (faults.link_breaks_every_millis, Event::LinkBreaks(device)),
                (faults.offline_every_millis, Event::Offline(device)),
                (faults.owner_every_millis, Event::Owner(device)),
                (faults.clock_step_every_millis, Event::ClockStep(device)),
            ] {
                self.again(every, event);
            }
            if self.random.happens(faults.owner_retires_per_mille) {
                let at = Millis(self.random.below(self.plan.chaos_millis));
                self.queue.push(at, Event::OwnerRetires(device));
            }
        }
        for (every, event) in [
            (faults.gateway_crash_every_millis, Event::GatewayCrash),
            (faults.distrust_every_millis, Event::Distrust),
            (faults.operator_every_millis, Event::Operator),
            (faults.rollover_every_millis, Event::Rollover),
        ] {
            self.again(every, event);
        }
        for order in self.plan.orders.clone() {
            self.queue.push(Millis(order.at_millis), Event::Order(order));
        }
        self.boards[0].flash.power.cut_after_each(&self.plan.cuts);
        let mut calm = self.plan.chaos_millis;
        if let Some(sleep) = self.plan.long_sleep_millis {
            let at = Millis(self.random.below(calm));
            self.queue.push(at, Event::LongSleep(0));
            calm += sleep;
        }
        self.queue.push(Millis(calm), Event::Calm);
        self.queue.push(Millis(calm + self.plan.calm_millis), Event::End);
    }

    /// Puts in the next of a kind of events that happen so often on average; none for 0.
    fn again(&mut self, every_millis: u64, event: Event) {
        if every_millis > 0 {
            let wait = self.random.between(1, every_millis * 2);
            self.queue.push(self.now.plus(wait), event);
        }
    }

    /// Faults stop: everything has power and network, and no clock is ahead. Clocks that are behind stay so: nobody visits
    /// a device to set its clock.
    fn calm(&mut self) {
        self.faults = Faults::default();
        self.calm_since = Some(self.now);
        self.history.note(self.now, "world", format_args!("faults stop"));
        self.gateway_up();
        self.gateway.trusts_device_ca = true;
        for device in 0..self.boards.len() {
            self.boards[device].operational_at = None;
            if let Some(error) = &mut self.boards[device].clock_error_secs {
                *error = (*error).min(0);
            }
            self.online(device);
            self.power_on(device);
            self.notice_operational(device);
        }
        self.queue.push(self.now.plus(LIVENESS_MILLIS_MAX), Event::Deadline);
    }
}
