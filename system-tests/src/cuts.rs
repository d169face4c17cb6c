//! Power cuts, not by chance but all of them: one life from factory to rotation, cut at each byte that it stores.

use muster_protocol::registrar::Act;

use crate::flash::FlashKind;
use crate::history::History;
use crate::plan::{Order, Plan};
use crate::world::World;

const ROTATE_AT_MILLIS: u64 = 30 * 60_000;

/// The golden life: enrol, rotate once by order of an operator; the power goes when so many bytes are durable.
#[must_use]
pub fn golden(flash: FlashKind, cuts: Vec<u64>) -> Plan {
    let mut plan = Plan::quiet(flash);
    plan.orders = vec![Order { at_millis: ROTATE_AT_MILLIS, device: 0, act: Act::Rotate }];
    plan.cuts = cuts;
    plan
}

/// Lives it, and checks how it ended.
pub fn live(flash: FlashKind, cuts: &[u64]) -> Result<Lived, String> {
    let mut world = World::new(golden(flash, cuts.to_vec()), History::hashed());
    let outcome = world.run();
    if let Some(violation) = outcome.violation {
        return Err(format!("{flash:?}, cut at {cuts:?}: {}: {}", violation.invariant, violation.text));
    }
    let row = world.gateway.registry.row(0);
    let stored = &world.boards[0].stored;
    let current = row.current.as_ref().map(|current| &current.serial);
    if stored.active_serial() != current || current.is_none() {
        let held = stored.active_serial();
        return Err(format!("{flash:?}, cut at {cuts:?}: the device lives on {held:?}, the gateway on {current:?}"));
    }
    if row.order.is_some() || row.previous.is_some() || row.candidate.is_some() {
        return Err(format!("{flash:?}, cut at {cuts:?}: something is left over: {row:?}"));
    }
    Ok(Lived { written: outcome.written, issued: outcome.issued, boots: world.boards[0].boot })
}

/// What a life came to.
#[derive(Clone, Copy, Debug)]
pub struct Lived {
    /// Bytes made durable.
    pub written: u64,
    /// Certificates issued.
    pub issued: usize,
    /// Boots and cuts.
    pub boots: u64,
}
