//! What a seed means: how many devices, which flash, how long certificates live, and which faults happen how often.

use muster_protocol::device::Settings;
use muster_protocol::registrar::Act;

use crate::flash::FlashKind;
use crate::random::Random;

/// Everything about a history that is decided before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is decided later.
    pub seed: u64,
    /// How many devices.
    pub devices: usize,
    /// What their stores are like.
    pub flash: FlashKind,
    /// Life of an operational certificate, in seconds.
    pub ldevid_life_secs: u64,
    /// How long faults happen, in milliseconds.
    pub chaos_millis: u64,
    /// A sleep without power somewhere in it, which comes on top, in milliseconds.
    pub long_sleep_millis: Option<u64>,
    /// How long it goes on without faults after that, in milliseconds.
    pub calm_millis: u64,
    /// The devices' patience.
    pub settings: Settings,
    /// The faults.
    pub faults: Faults,
    /// What operators do for certain.
    pub orders: Vec<Order>,
    /// The first device loses power when so many bytes are durable, each time counted from the cut before.
    pub cuts: Vec<u64>,
}

/// An act of an operator that the plan names.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// When, in milliseconds.
    pub at_millis: u64,
    /// On which device.
    pub device: usize,
    /// What.
    pub act: Act,
}

/// How often what goes wrong; `_per_mille` of the occasions, `_every_millis` on average, 0 for never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A connection attempt that nobody answers.
    pub connect_fails_per_mille: u16,
    /// A message that is lost together with its connection.
    pub message_lost_per_mille: u16,
    /// A message that arrives twice (MQTT, QoS 1).
    pub message_twice_per_mille: u16,
    /// A connection that ends for no reason, on average.
    pub link_breaks_every_millis: u64,
    /// A stretch without any network.
    pub offline_every_millis: u64,
    /// Longest such stretch.
    pub offline_millis_max: u64,
    /// A write during which the power goes.
    pub cut_in_write_per_mille: u16,
    /// A cut of power at any time.
    pub cut_every_millis: u64,
    /// Longest time without power.
    pub dark_millis_max: u64,
    /// A write that fails without a cut.
    pub write_fails_per_mille: u16,
    /// A key operation that fails.
    pub key_fails_per_mille: u16,
    /// An answer of the device's store or key store that takes time.
    pub slow_answer_per_mille: u16,
    /// A timer that fires early.
    pub early_timer_per_mille: u16,
    /// A change that the gateway's store refuses.
    pub gateway_write_fails_per_mille: u16,
    /// A certificate that cannot be issued now.
    pub issue_fails_per_mille: u16,
    /// A crash of the gateway after any one output.
    pub gateway_crash_per_mille: u16,
    /// A crash of the gateway at any time.
    pub gateway_crash_every_millis: u64,
    /// A stretch in which the gateway trusts no certificate of its own device CA.
    pub distrust_every_millis: u64,
    /// Longest such stretch.
    pub distrust_millis_max: u64,
    /// What an operator does.
    pub operator_every_millis: u64,
    /// The owner of the device asks for a rotation.
    pub owner_every_millis: u64,
    /// The device is retired by its owner; in so many of a thousand histories.
    pub owner_retires_per_mille: u16,
    /// The gateway gets new CAs, step by step.
    pub rollover_every_millis: u64,
    /// The device's clock is stepped.
    pub clock_step_every_millis: u64,
    /// How far a device's clock goes wrong, in seconds.
    pub clock_error_secs_max: u64,
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Longer than any certificate of the gateway's lasts.
const LONG_SLEEP_MILLIS: u64 = 400 * DAY;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ldevid_life_secs = *random.pick(&[6 * 3600, 6 * 3600, 6 * 3600, 86_400, 86_400, 7 * 86_400]);
        let life = ldevid_life_secs * 1000;
        let flash = *random.pick(&[FlashKind::Replace, FlashKind::EraseFirst]);
        let devices = *random.pick(&[1, 1, 1, 1, 2, 3]);
        let faults = Faults::draw(&mut random, life);
        let chaos_millis = random.between(life, life * 3);
        // The longest wait is the operator's back-off; then one more renewal, to see that life goes on.
        let calm_millis = LIVENESS_MILLIS_MAX + life + HOUR;
        let sleeps = devices == 1 && ldevid_life_secs >= 86_400 && random.happens(100);
        Self {
            seed,
            devices,
            flash,
            ldevid_life_secs,
            chaos_millis,
            long_sleep_millis: sleeps.then_some(LONG_SLEEP_MILLIS),
            calm_millis,
            settings: Settings::default(),
            faults,
            orders: Vec::new(),
            cuts: Vec::new(),
        }
    }

    /// One device, nothing goes wrong.
    #[must_use]
    pub fn quiet(flash: FlashKind) -> Self {
        Self {
            seed: 0,
            devices: 1,
            flash,
            ldevid_life_secs: 86_400,
            chaos_millis: 0,
            long_sleep_millis: None,
            calm_millis: 12 * HOUR,
            settings: Settings::default(),
            faults: Faults::default(),
            orders: Vec::new(),
            cuts: Vec::new(),
        }
    }
}

/// Once faults stop, a device that nobody keeps out is operational after so long at most: the longest wait after a
/// refusal that only an operator could lift, and some attempts.
pub const LIVENESS_MILLIS_MAX: u64 = 4 * HOUR + 40 * MINUTE;

impl Faults {
    /// Each fault is absent, rare or frequent, each on its own: most histories have some faults and not others.
    fn draw(random: &mut Random, life: u64) -> Self {
        let mut often = |rare: u16, frequent: u16| *random.pick(&[0, rare, frequent]);
        let connect_fails_per_mille = often(50, 500);
        let message_lost_per_mille = often(20, 250);
        let message_twice_per_mille = often(20, 200);
        let cut_in_write_per_mille = often(20, 200);
        let write_fails_per_mille = often(5, 50);
        let key_fails_per_mille = often(20, 200);
        let slow_answer_per_mille = often(50, 500);
        let early_timer_per_mille = often(0, 100);
        let gateway_write_fails_per_mille = often(10, 150);
        let issue_fails_per_mille = often(20, 300);
        let gateway_crash_per_mille = often(2, 30);
        let owner_retires_per_mille = often(0, 60);
        let mut every = |often: u64| *random.pick(&[0, often * 4, often]);
        Self {
            connect_fails_per_mille,
            message_lost_per_mille,
            message_twice_per_mille,
            cut_in_write_per_mille,
            write_fails_per_mille,
            key_fails_per_mille,
            slow_answer_per_mille,
            early_timer_per_mille,
            gateway_write_fails_per_mille,
            issue_fails_per_mille,
            gateway_crash_per_mille,
            owner_retires_per_mille,
            link_breaks_every_millis: every(life / 10),
            offline_every_millis: every(life / 3),
            cut_every_millis: every(life / 6),
            gateway_crash_every_millis: every(life / 5),
            distrust_every_millis: every(life * 2),
            operator_every_millis: every(life / 4),
            owner_every_millis: every(life / 3),
            rollover_every_millis: every(life / 2),
            clock_step_every_millis: every(life / 3),
            distrust_millis_max: *random.pick(&[MINUTE, HOUR, life]),
            // Offline costs an attempt every few minutes, darkness costs nothing.
            offline_millis_max: *random.pick(&[10 * MINUTE, life / 8, (life * 3 / 2).min(36 * HOUR)]),
            dark_millis_max: *random.pick(&[MINUTE, life / 4, life * 3]),
            clock_error_secs_max: *random.pick(&[300, 3600, life / 1000 * 2, 60 * 86_400]),
        }
    }
}
