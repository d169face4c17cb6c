//! The lock of the identity: write protection by option bytes (RM0481, section 7.4). It holds for a group of four sectors,
//! of which the IDevID's is the last, and the three before it are empty.
//!
//! It keeps any program from writing there by mistake. Who can set option bytes can take it off: what keeps a debugger
//! from that is the product state, which is for whoever flashes the board (README).

use embassy_stm32::pac::FLASH;
use muster_agent_nostd::platform::{IdentityLock, LockError};

/// The option byte for sectors 116 to 119 of bank 2.
pub(crate) struct WriteProtection;

impl IdentityLock for WriteProtection {
    fn is_locked(&mut self) -> bool {
        FLASH.wrp2r_cur().read().wrpsg() & GROUP == 0
    }

    fn lock(&mut self) -> Result<(), LockError> {
        if !self.is_locked() {
            critical_section::with(|_| program());
        }
        if self.is_locked() { Ok(()) } else { Err(LockError) }
    }
}

/// Adds the group to what is protected.
fn program() {
    while FLASH.nssr().read().bsy() {}
    for key in UNLOCK {
        FLASH.optkeyr().write_value(key);
    }
    // A bit of zero protects.
    FLASH.wrp2r_prg().modify(|groups| groups.set_wrpsg(groups.wrpsg() & !GROUP));
    FLASH.optcr().modify(|control| control.set_optstrt(true));
    while FLASH.nssr().read().bsy() {}
    FLASH.optcr().modify(|control| control.set_optlock(true));
}

/// Sectors 4 x 29 to 4 x 29 + 3.
const GROUP: u32 = 1 << 29;
/// RM0481, section 7.9: what opens the option bytes for one change.
const UNLOCK: [u32; 2] = [0x0819_2A3B, 0x4C5D_6E7F];
