//! A board's `main`, without the board: from the parts to a device that runs for ever. What every board would write again
//! stands here once; pins, clocks and drivers stay with the board.
//!
//! A blank board waits for the factory on its serial line and starts anew when the station is done with it. A device runs
//! the agent, and beside it tells who it is on the same line. A retired one goes on telling, and does nothing else.

use core::future::pending;
use core::pin::pin;

use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer};
use heapless::String;
use muster_protocol::message::factory::Hello;
use sha2::{Digest as _, Sha256};

use crate::agent::{Agent, App, End, Memory, Options};
use crate::apart::apart;
use crate::factory::{self, About, Factory, FlashStore};
use crate::platform::{Clock, CryptoRngCore, IdentityLock, Network, NorFlash, Read, Reset, Write};
use crate::slots::Slots;

/// What a board hands over: its parts, each of the board's own kind.
pub struct Parts<F, K, L, R, C, A, Z> {
    /// The flash with the identity partition.
    pub flash: F,
    /// Where the partition starts in it, in bytes.
    pub partition: u32,
    /// Locks the partition's first unit.
    pub lock: K,
    /// The serial line to the factory.
    pub line: L,
    /// True randomness.
    pub rng: R,
    /// The date, if the board has it.
    pub clock: C,
    /// The board's own program; `()` for none.
    pub app: A,
    /// Starts the board anew.
    pub reset: Z,
    /// What it says of itself to the factory.
    pub about: About,
    /// How the agent is set up.
    pub options: Options,
}

impl<F, K, L, R, C, A, Z> Parts<F, K, L, R, C, A, Z>
where
    F: NorFlash,
    K: IdentityLock,
    L: Read + Write,
    R: CryptoRngCore,
    C: Clock,
    A: App,
    Z: Reset,
{
    /// Runs the device. Ends only in a reset: after the factory, when the board's program stopped the agent, and, a minute
    /// later, when nothing can be read of the partition.
    pub async fn run(mut self, mut network: impl Network, memory: &mut Memory) -> ! {
        let Ok(mut slots) = Slots::open(self.flash, self.partition) else {
            Timer::after(BROKEN_PAUSE).await;
            self.reset.reset()
        };
        let become_device = become_device(self.about, &mut slots, &mut self.lock, &mut self.line, &mut self.rng);
        let Some(hello) = apart(pin!(become_device)).await else { self.reset.reset() };
        let mut line = pin!(async {
            // An agent needs no serial line.
            let _ = factory::serve_locked(&mut self.line, &hello).await;
            pending::<()>().await;
        });
        let agent = Agent {
            vault: &mut slots,
            network: &mut network,
            rng: &mut self.rng,
            clock: self.clock,
            app: &mut self.app,
            options: self.options,
        };
        let agent = pin!(agent.run(memory));
        match select(apart(agent), apart(line.as_mut())).await {
            Either::First(End::Retired) => line.await,
            Either::First(End::Stopped) | Either::Second(()) => {}
            Either::First(_) => Timer::after(BROKEN_PAUSE).await,
        }
        self.reset.reset()
    }
}

/// Who the device is. A blank board answers the factory until it is a device: then there is nothing to say but `None`, for
/// it has to start anew.
async fn become_device<F: NorFlash>(
    about: About,
    slots: &mut Slots<F>,
    lock: &mut impl IdentityLock,
    line: &mut (impl Read + Write),
    rng: &mut impl CryptoRngCore,
) -> Option<Hello> {
    let mut store = FlashStore::new(slots, lock);
    let mut factory = Factory::new(about);
    if let Ok(Some(hello)) = factory.begin(&mut store) {
        return Some(hello);
    }
    if factory::serve(line, &mut factory, &mut store, rng).await.is_err() {
        // The line is gone. Not at once: a board whose line is broken shall not start over and over.
        Timer::after(BROKEN_PAUSE).await;
    }
    None
}

/// What a board says of itself, from its package: `about("lamp", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))`.
/// What is too long is left out.
#[must_use]
pub fn about(product: &str, board: &str, agent: &str) -> About {
    About {
        product: String::try_from(product).unwrap_or_default(),
        board: String::try_from(board).unwrap_or_default(),
        agent: String::try_from(agent).unwrap_or_default(),
    }
}

/// A hardware address for a board that has none of its own: made from the chip's unique number, locally administered and
/// for one station (IEEE 802, section 8.4), the same after every start.
#[must_use]
pub fn hardware_address(chip_number: &[u8]) -> [u8; 6] {
    let digest = Sha256::new().chain_update(b"muster hardware address").chain_update(chip_number).finalize();
    let mut address = [0; 6];
    address.copy_from_slice(&digest[..6]);
    address[0] = address[0] & !MULTICAST | LOCAL;
    address
}

/// Before a start that may go like the one before.
const BROKEN_PAUSE: Duration = Duration::from_secs(60);
const MULTICAST: u8 = 0x01;
const LOCAL: u8 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_local_and_each_chips_own() {
        let (one, other) = (hardware_address(b"chip 1"), hardware_address(b"chip 2"));
        assert_ne!(one, other);
        assert_eq!(one, hardware_address(b"chip 1"));
        for chip in 0..=u8::MAX {
            assert_eq!(hardware_address(&[chip])[0] & 0x03, LOCAL);
        }
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let about = about("lamp", core::str::from_utf8(&[b'x'; 1000]).unwrap_or("x"), "0.1.0");
        assert_eq!((about.product.as_str(), about.board.as_str(), about.agent.as_str()), ("lamp", "", "0.1.0"));
    }
}
