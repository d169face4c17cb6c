//! The loop: the device core on one side; keys, records, TLS, MQTT, network, clock and timers on the other.
//!
//! All input and output of the core happens here, and only here do the edges meet. Decisions are the core's: what to
//! connect with, when to wait, what a refusal means. [`Agent::run`] boots a core from the records as often as the core
//! asks for it, and that is the only recovery there is.
//!
//! | file | idea |
//! |---|---|
//! | `records` | what a core boots from |
//! | `life` | one core from its boot to its end, while it has no session |
//! | `drain` | what the core wants done at once |
//! | `session` | one attempt to connect, and the session that comes of it |
//! | `trust` | whom to dial, and by which CAs |
//! | `bundle` | the trust bundle from the open address |
//! | `http` | the answer it comes in |
//! | `app` | what a board's own program sees and says |

use core::pin::pin;

use embassy_time::{Duration, Instant, Timer};
use muster_protocol::UnixTime;
use muster_protocol::device::{Device, Settings};
use muster_protocol::pki::ECDSA_P256_SHA256;
use muster_protocol::slot::store::SlotStore;
use rand_core::CryptoRngCore;
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::apart::apart;
use crate::clock::{Doubtable, RELEASED_AT};
use crate::fmt::Told;
use crate::key::KeyStore;
use crate::platform::{Clock, Network};
use crate::slots::FactoryRecords;
use crate::{mqtt, tls};

mod app;
mod bundle;
mod drain;
mod http;
mod life;
mod records;
mod session;
mod trust;

pub use app::{App, Reply, Wish};
pub use records::Fault;

use life::Ended;
use trust::Source;

/// Everything that a device keeps. One object, since soft keys lie beside the records; a board with a secure element
/// joins its own key store with [`crate::slots::Slots`].
pub trait Vault: FactoryRecords + KeyStore + SlotStore {}

impl<T: FactoryRecords + KeyStore + SlotStore> Vault for T {}

/// How an agent is set up. The defaults suit a fleet.
#[derive(Clone, Copy)]
pub struct Options {
    /// Patience.
    pub settings: Settings,
    /// Time between two reports, in seconds; 0 sends none.
    pub telemetry_secs: u32,
    /// Longest silence on an MQTT session, in seconds.
    pub keep_alive_secs: u16,
    /// When this firmware was built: no time before this is believed.
    pub built_at: UnixTime,
    /// Name and version of the firmware, for people; at most 32 bytes.
    pub agent: &'static str,
    /// Checks ECDSA P-256 with SHA-256: the core's own, or a faster one of the board's.
    pub algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            telemetry_secs: 60,
            keep_alive_secs: 60,
            built_at: RELEASED_AT,
            agent: concat!("muster-nostd/", env!("CARGO_PKG_VERSION")),
            algorithm: ECDSA_P256_SHA256,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// The agent's large buffers. Give it a static place (`ConstStaticCell`): it is too large for a stack.
pub struct Memory {
    // One or none, from the first boot on. Unlike a value of either, and unlike an `Option`, an empty list is all zeros: so
    // this lies in `.bss` and costs no flash.
    device: heapless::Vec<Device, 1>,
    tls: heapless::Vec<tls::Buffers, 1>,
    mqtt: mqtt::Memory,
}

impl Memory {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { device: heapless::Vec::new(), tls: heapless::Vec::new(), mqtt: mqtt::Memory::new() }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// How an agent's run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The board's program asked for it.
    Stopped,
    /// The device is retired for good: there is nothing to run any more.
    Retired,
    /// It cannot start from what is stored. To start again may help when the flash failed, and only then.
    Broken(Fault),
}

/// One device's agent: what the board lends it.
pub struct Agent<'a, V, N, R, C, A> {
    /// Keys and records.
    pub vault: &'a mut V,
    /// TCP.
    pub network: &'a mut N,
    /// True randomness.
    pub rng: &'a mut R,
    /// The date, if the board has it.
    pub clock: C,
    /// The board's own program.
    pub app: &'a mut A,
    /// How the agent is set up.
    pub options: Options,
}

/// An agent while it runs.
struct Running<'a, V, R, C, A> {
    vault: &'a mut V,
    rng: &'a mut R,
    clock: Doubtable<C>,
    app: &'a mut A,
    options: Options,
    /// Where the trust in force is stored.
    trust: Source,
}

impl<V, N, R, C, A> Agent<'_, V, N, R, C, A>
where
    V: Vault,
    N: Network,
    R: CryptoRngCore,
    C: Clock,
    A: App,
{
    /// Runs until the board's program asks it to stop, the device is retired, or nothing can be read any more.
    pub async fn run(self, memory: &mut Memory) -> End {
        let Self { vault, network, rng, clock, app, options } = self;
        let mut running = Running { vault, rng, clock: Doubtable::new(clock), app, options, trust: Source::Factory };
        let mut failures = 0_u32;
        loop {
            let born = Instant::now();
            let booted = apart(pin!(running.boot(memory))).await;
            if let Err(fault) = booted {
                return End::Broken(fault);
            }
            let ended = apart(pin!(running.live(network, memory))).await;
            match ended {
                Ended::Stopped => return End::Stopped,
                Ended::Retired => return End::Retired,
                Ended::Restart => {
                    failures = if born.elapsed() > RESTART_PAUSE_MAX { 0 } else { failures.saturating_add(1) };
                    running.app.told(Told::Restart);
                    let pause = RESTART_PAUSE_MIN * (1 << failures.min(6));
                    Timer::after(pause.min(RESTART_PAUSE_MAX)).await;
                }
            }
        }
    }
}

const RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);
