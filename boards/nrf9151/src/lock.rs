//! The lock of the identity: the system protection unit takes the right to write from a region of flash, until the next
//! reset. A device locks at every start, before its agent does anything.

use embassy_nrf::pac::SPU_S;
use muster_agent_nostd::partition::Barrier;
use muster_agent_nostd::platform::{IdentityLock, LockError};

/// Region 30, in hardware; and the barrier before it, since a write that the hardware refuses is a fault of the bus.
pub(crate) struct RegionLock(&'static Barrier);

impl RegionLock {
    /// With the partition's barrier.
    pub(crate) fn new(barrier: &'static Barrier) -> Self {
        Self(barrier)
    }
}

impl IdentityLock for RegionLock {
    fn is_locked(&mut self) -> bool {
        let region = SPU_S.flashregion(REGION).perm().read();
        region.lock() && !region.write() && self.0.is_locked()
    }

    fn lock(&mut self) -> Result<(), LockError> {
        self.0.lock()?;
        SPU_S.flashregion(REGION).perm().modify(|region| {
            region.set_write(false);
            region.set_execute(false);
            region.set_lock(true);
        });
        if self.is_locked() { Ok(()) } else { Err(LockError) }
    }
}

/// 32 KB from 0xF0000 on.
const REGION: usize = 30;
