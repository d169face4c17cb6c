//! One core from its boot to its end: what it wants done is done, what happens is given to it.

use core::pin::pin;

use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer};
use muster_protocol::device::{Device, Input, StateName};
use rand_core::CryptoRngCore;

use super::drain::{Offline, Wants};
use super::{App, Memory, Running, Vault, Wish};
use crate::apart::apart;
use crate::clock;
use crate::fmt::Told;
use crate::platform::{Clock, Network};

/// Why a core is not asked any more.
pub(super) enum Ended {
    Stopped,
    Retired,
    /// It no longer believes its records.
    Restart,
}

/// How a session went.
pub(super) enum After {
    /// It is over, and this is what the core wants next.
    Wants(Wants),
    /// The board's program wants to stop.
    Stop,
}

impl<V, R, C, A> Running<'_, V, R, C, A>
where
    V: Vault,
    R: CryptoRngCore,
    C: Clock,
    A: App,
{
    pub(super) async fn live(&mut self, network: &mut impl Network, memory: &mut Memory) -> Ended {
        let Memory { device, tls, mqtt } = memory;
        let (Some(device), Some(tls)) = (device.first_mut(), tls.first_mut()) else { return Ended::Restart };
        let mut wants = apart(pin!(self.drain(device, &mut Offline))).await;
        let mut idle_until = Instant::MIN;
        loop {
            if wants.restart {
                return Ended::Restart;
            }
            if device.state() == StateName::Retired {
                return Ended::Retired;
            }
            if wants.fetch {
                let connect = wants.connect;
                let fetched = apart(pin!(self.fetch(network, mqtt, tls))).await;
                match fetched {
                    Some(signed) => self.input(device, Input::Bundle(signed)),
                    None => self.app.told(Told::BundleNotFetched),
                }
                wants = apart(pin!(self.drain(device, &mut Offline))).await;
                wants.connect = wants.connect.or(connect.filter(|_| !wants.disconnect));
                continue;
            }
            if let Some(credential) = wants.connect {
                let after = apart(pin!(self.connect(network, device, tls, mqtt, credential))).await;
                match after {
                    After::Wants(next) => wants = next,
                    After::Stop => return Ended::Stopped,
                }
                continue;
            }
            let due = due(device, idle_until);
            match select(Timer::at(due), self.app.wish()).await {
                Either::First(()) => {
                    self.input(device, Input::Timeout);
                    idle_until = Instant::now() + IDLE;
                }
                Either::Second(Wish::Rotate) => self.input(device, Input::Rotate),
                Either::Second(Wish::Retire) => self.input(device, Input::Retire),
                Either::Second(Wish::Stop) => return Ended::Stopped,
            }
            wants = apart(pin!(self.drain(device, &mut Offline))).await;
        }
    }
}

/// When the core wants to be asked; not before `idle_until`, so that a timeout that led to nothing is not repeated at
/// once.
pub(super) fn due(device: &Device, idle_until: Instant) -> Instant {
    let due = device.poll_timeout().map_or_else(|| Instant::now() + LOOK_AGAIN, clock::instant);
    due.max(idle_until)
}

/// Between two timeouts that lead to nothing.
pub(super) const IDLE: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
