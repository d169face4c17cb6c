//! Commands that were sent to devices and are not answered yet, each by its device and number. An answer of another
//! device, with another number, or to a command that nobody waits for any more reaches nobody.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_protocol::DeviceId;
use muster_protocol::message::application::{Answer, Outcome};
use tokio::sync::oneshot;

use crate::registrar::CommandOutcome;

/// The commands under way.
#[derive(Debug, Default)]
pub(super) struct Commands {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u32,
    waiting: HashMap<(DeviceId, u32), oneshot::Sender<CommandOutcome>>,
}

impl Commands {
    /// A number for a command to the device, and where its outcome will come; `None` when too many are under way.
    pub(super) fn expect(&self, device: &DeviceId) -> Option<(u32, oneshot::Receiver<CommandOutcome>)> {
        let mut table = self.table();
        if table.waiting.len() >= WAITING_MAX {
            table.waiting.retain(|_, waiter| !waiter.is_closed());
            if table.waiting.len() >= WAITING_MAX {
                return None;
            }
        }
        table.last = table.last.wrapping_add(1);
        let number = table.last;
        let (waiter, outcome) = oneshot::channel();
        table.waiting.insert((device.clone(), number), waiter);
        Some((number, outcome))
    }

    /// Takes what a device published as an answer.
    pub(super) fn answered(&self, device: &DeviceId, payload: &[u8]) {
        let Ok(Answer { number, outcome }) = Answer::decode(payload) else {
            tracing::debug!(%device, bytes = payload.len(), "an answer of a device cannot be read");
            return;
        };
        let Some(waiter) = self.table().waiting.remove(&(device.clone(), number)) else { return };
        let _ = waiter.send(match outcome {
            Outcome::Done(result) => CommandOutcome::Done(result.to_vec()),
            Outcome::Failed(result) => CommandOutcome::Failed(result.to_vec()),
            Outcome::Unknown => CommandOutcome::Unknown,
        });
    }

    /// The device's session has ended: nobody will answer.
    pub(super) fn forget(&self, device: &DeviceId) {
        self.table().waiting.retain(|(other, _), _| other != device);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commands under way at once, over all devices.
const WAITING_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use muster_protocol::message::encode;

    use super::*;

    fn answer(number: u32) -> Vec<u8> {
        encode(&Answer { number, outcome: Outcome::Done(b"ok") }).unwrap().to_vec()
    }

    #[test]
    fn an_answer_reaches_the_one_who_waits_for_it_and_nobody_else() {
        let commands = Commands::default();
        let [a, b] = ["a", "b"].map(|id| DeviceId::new(id).unwrap());
        let (first, mut of_first) = commands.expect(&a).unwrap();
        let (second, mut of_second) = commands.expect(&b).unwrap();
        assert_ne!(first, second);
        commands.answered(&b, &answer(first));
        commands.answered(&a, &answer(second));
        commands.answered(&a, b"\x01");
        assert!(of_first.try_recv().is_err() && of_second.try_recv().is_err(), "not theirs to answer");
        commands.answered(&a, &answer(first));
        assert_eq!(of_first.try_recv(), Ok(CommandOutcome::Done(b"ok".to_vec())));
        commands.answered(&a, &answer(first));
        commands.forget(&b);
        assert_eq!(of_second.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn there_is_room_again_when_nobody_waits() {
        let commands = Commands::default();
        let device = DeviceId::new("a").unwrap();
        let waiters: Vec<_> = (0..WAITING_MAX).map(|_| commands.expect(&device).unwrap()).collect();
        assert!(commands.expect(&device).is_none());
        drop(waiters);
        assert!(commands.expect(&device).is_some());
    }
}
