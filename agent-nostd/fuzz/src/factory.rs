//! A blank board at the end of a serial line.

use embassy_futures::block_on;
use muster_agent_nostd::factory::{self, About, Factory, FlashStore};
use muster_agent_nostd::platform::{IdentityLock, LockError};
use muster_agent_nostd::slots::Slots;
use muster_protocol::message::factory::frame::frame;

use super::flash::Flash;
use super::server::{Script, Seeded};

#[derive(Default)]
struct Lock(bool);

impl IdentityLock for Lock {
    fn is_locked(&mut self) -> bool {
        self.0
    }

    fn lock(&mut self) -> Result<(), LockError> {
        self.0 = true;
        Ok(())
    }
}

fn text<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(text).unwrap_or_default()
}

/// What comes on the line: bytes as they are, or in frames, each behind its length.
pub(super) fn serve(bytes: &[u8]) {
    let Some((how, mut rest)) = bytes.split_first() else { return };
    let mut heard = Vec::new();
    if how % 2 == 0 {
        heard.extend_from_slice(rest);
    } else {
        while let Some((length, behind)) = rest.split_first() {
            let (message, behind) = behind.split_at(behind.len().min(usize::from(*length)));
            heard.extend_from_slice(&frame(message));
            rest = behind;
        }
    }
    let Ok(mut slots) = Slots::open(Flash::with(&[]), 0) else { return };
    let mut lock = Lock::default();
    let about = About { product: text("lamp"), board: text("fuzz"), agent: text("0") };
    let mut board = Factory::new(about);
    let mut line = Script::new(&heard, 64);
    let sent = line.sent.clone();
    let mut store = FlashStore::new(&mut slots, &mut lock);
    let _ = block_on(factory::serve(&mut line, &mut board, &mut store, &mut Seeded::new()));
    // Somebody who has no identity to give cannot lock a board.
    assert!(!lock.is_locked(), "locked without an identity");
    assert!(!sent.borrow().is_empty(), "a board says who it is");
}
