//! What must hold in every world after every event, one named function each, and what must hold at the moment of an act.
//!
//! They look at what is durable on the device, at the gateway's store, and at what went over the network; never at
//! what a core believes of itself, except to compare it with these.

use muster_protocol::device::{Credential, StateName};
use muster_protocol::limits::TRIALS_MAX;
use muster_protocol::message::{self, Down, Hello, Up};
use muster_protocol::pki::{Role, VerifiedClient};
use muster_protocol::registrar::{CertificateStatus, Change, Event, Reason, Standing};
use muster_protocol::slot::{Phase, SlotId};
use muster_protocol::time::Millis;

use crate::board::{Board, StoredSlot, true_time};
use crate::world::World;

/// A broken invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// When.
    pub at: Millis,
    /// What is wrong.
    pub text: String,
}

/// A named invariant.
pub type Invariant = (&'static str, fn(&World) -> Result<(), String>);

/// Those that hold after every event.
pub const ALWAYS: &[Invariant] = &[
    ("device_never_without_way_back", device_never_without_way_back),
    ("generations_differ_and_never_go_back", generations_differ_and_never_go_back),
    ("gateway_accepts_what_device_holds", gateway_accepts_what_device_holds),
    ("kept_out_has_no_session", kept_out_has_no_session),
    ("registry_counts_on_stored_certificates", registry_counts_on_stored_certificates),
    ("trial_count_bounded", trial_count_bounded),
    ("no_hot_loops", no_hot_loops),
    ("no_issuing_storm", no_issuing_storm),
    ("clock_floor_has_passed", clock_floor_has_passed),
];

/// More attempts than any back-off allows: doubling from half a second, candidate and fallback in turns.
const CONNECTS_PER_MINUTE_MAX: usize = 24;
/// More certificates than a device without reboots asks for: operators and owners want rotations, candidates fail.
const ISSUED_PER_HOUR_MAX: usize = 12;

/// A device that once stored a confirmed credential always has one, with its key: the old one or the new one.
pub fn device_never_without_way_back(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let stored = &board.stored;
        if stored.confirmed_generation > 0 && !stored.retired && stored.active().is_none() {
            return Err(format!("dev-{} has no confirmed credential any more", board.index));
        }
    }
    Ok(())
}

/// Two slots never have one generation, and the active generation never falls.
pub fn generations_differ_and_never_go_back(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let stored = &board.stored;
        if let [Some(a), Some(b)] = &stored.slots
            && a.record.generation == b.record.generation
        {
            return Err(format!("dev-{} has generation {} twice", board.index, a.record.generation));
        }
        if let Some(active) = stored.active()
            && active.record.generation < stored.confirmed_generation
        {
            let (now, before) = (active.record.generation, stored.confirmed_generation);
            return Err(format!("dev-{} fell from generation {before} to {now}", board.index));
        }
    }
    Ok(())
}

/// Whatever confirmed credential a device has stored, old or new, the gateway takes it, unless it expired or an operator
/// withdrew it or keeps the device out.
pub fn gateway_accepts_what_device_holds(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let Some((serial, not_after)) = board.stored.active().and_then(|active| active.certificate.as_ref()) else {
            continue;
        };
        let gateway = &world.gateway;
        if gateway.kept_out[board.index].is_some()
            || gateway.withdrawn_by_operator.contains(serial)
            || *not_after < true_time(world.now)
        {
            continue;
        }
        let row = gateway.registry.row(board.index);
        let counted = [&row.current, &row.previous, &row.candidate].into_iter().flatten();
        let counted = counted.into_iter().any(|credential| credential.serial == *serial);
        let status = gateway.registry.status(serial);
        if !counted || status != CertificateStatus::Good {
            return Err(format!("dev-{} holds {serial}, which the gateway says is {status:?}: {row:?}", board.index));
        }
    }
    Ok(())
}

/// A device that is suspended, revoked or retired has no session, and no session outlives its certificate's standing.
pub fn kept_out_has_no_session(world: &World) -> Result<(), String> {
    for (device, session) in &world.gateway.sessions {
        if let Some(code) = world.gateway.kept_out[*device] {
            return Err(format!("dev-{device} has a session: {code}"));
        }
        let status = world.gateway.registry.status(session.client.serial());
        if session.client.role() == Role::Ldevid && status != CertificateStatus::Good {
            return Err(format!("dev-{device} has a session under a certificate that is {status:?}"));
        }
    }
    Ok(())
}

/// Every certificate that a row counts on was stored, for this device, and is not withdrawn.
pub fn registry_counts_on_stored_certificates(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let registry = &world.gateway.registry;
        let row = registry.row(board.index);
        for credential in [&row.current, &row.previous, &row.candidate].into_iter().flatten() {
            match registry.certificate(&credential.serial) {
                Some(stored) if stored.device == board.index && stored.withdrawn.is_none() => {}
                other => return Err(format!("dev-{}: {} is {other:?}", board.index, credential.serial)),
            }
        }
    }
    Ok(())
}

/// No candidate is tried more often than the limit says.
pub fn trial_count_bounded(world: &World) -> Result<(), String> {
    for board in &world.boards {
        for slot in board.stored.slots.iter().flatten() {
            if let Phase::Trial(trials) = slot.record.phase
                && !(1..=TRIALS_MAX).contains(&trials)
            {
                return Err(format!("dev-{} counts {trials} trials", board.index));
            }
        }
    }
    Ok(())
}

/// A device does not storm the gateway.
pub fn no_hot_loops(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let connects = board.connects.len();
        if connects > CONNECTS_PER_MINUTE_MAX {
            return Err(format!("dev-{} connected {connects} times in a minute", board.index));
        }
    }
    Ok(())
}

/// A device does not use up serial numbers: whatever goes wrong with its certificates, it asks ever more rarely.
pub fn no_issuing_storm(world: &World) -> Result<(), String> {
    for board in &world.boards {
        let issued = board.issued.len();
        if issued > ISSUED_PER_HOUR_MAX {
            return Err(format!("dev-{} was issued {issued} certificates in an hour", board.index));
        }
    }
    Ok(())
}

/// The floor of a device's clock never is in the future, however wrong its civil clock is.
pub fn clock_floor_has_passed(world: &World) -> Result<(), String> {
    let now = true_time(world.now);
    for board in &world.boards {
        let floor = board.core.as_ref().map_or(board.stored.floor, |core| core.clock_floor());
        if floor > now || board.stored.floor > now {
            return Err(format!("dev-{} believes that {floor:?} has passed at {now:?}", board.index));
        }
    }
    Ok(())
}

/// Once faults have stopped for long enough: every device that nobody keeps out was operational since, and is on a
/// certificate that is valid.
pub fn everybody_is_operational(world: &World) -> Result<(), String> {
    let now = true_time(world.now);
    for board in &world.boards {
        let kept_out = world.gateway.kept_out[board.index];
        if kept_out.is_some() || board.stored.retired {
            if is_operational(board) && board.line.is_whole() {
                return Err(format!("dev-{} is operational: {kept_out:?}", board.index));
            }
            continue;
        }
        let state = board.core.as_ref().map(|core| core.state());
        if board.operational_at.is_none() {
            return Err(format!("dev-{} never became operational, it is {state:?}", board.index));
        }
        if board.stored.active().is_none_or(|active| active.certificate.as_ref().is_none_or(|(_, end)| *end < now)) {
            return Err(format!("dev-{} has no valid certificate, it is {state:?}", board.index));
        }
    }
    Ok(())
}

/// Whether a device is operational and welcomed.
#[must_use]
pub fn is_operational(board: &Board) -> bool {
    board.core.as_ref().is_some_and(|core| {
        core.state() == StateName::Operational && core.session() == core.active_slot().map(Credential::Slot)
    })
}

/// Nothing but the key store ever sees a private key.
pub(crate) fn no_private_key_in(world: &mut World, what: &str, bytes: &[u8]) {
    let leaks = world.boards.iter().any(|board| {
        let own = &world.pki.devices[board.index].key;
        let held = SlotId::BOTH.into_iter().filter_map(|slot| board.flash.key(slot));
        held.chain([own]).any(|key| key.leaks_in(bytes))
    });
    if leaks {
        world.violated("no_private_key_anywhere", format!("a private key stands in {what}"));
    }
}

/// A trial is stored before it starts; a retired device never connects.
pub(crate) fn at_connect(world: &mut World, device: usize, credential: Credential) {
    let now = world.now;
    let board = &mut world.boards[device];
    board.connects.push_back(now);
    while board.connects.front().is_some_and(|at| now.since(*at) > 60_000) {
        board.connects.pop_front();
    }
    let stored = &board.stored;
    if board.line.epoch().is_some() {
        let text = format!("dev-{device} connects while it has a connection");
        return world.violated("one_connection_at_a_time", text);
    }
    if stored.retired {
        return world.violated("retired_is_final", format!("dev-{device} connects after it was retired"));
    }
    if let Credential::Slot(slot) = credential {
        let usable = stored.slots[slot.index()].as_ref().is_some_and(|stored| {
            stored.has_key && matches!(stored.record.phase, Phase::Confirmed | Phase::Trial(1..))
        });
        if !usable {
            let phase = stored.slots[slot.index()].as_ref().map(|stored| stored.record.phase);
            let text = format!("dev-{device} connects with slot {}, stored as {phase:?}", slot.name());
            world.violated("trial_is_stored_before_it_starts", text);
        }
    }
}

/// Nothing that a device says can be unsaid by a power cut.
pub(crate) fn at_send(world: &mut World, device: usize, bytes: &[u8]) {
    if let Err(text) = said_is_stored(&world.boards[device], bytes) {
        world.violated("nothing_said_before_persisted", format!("dev-{device}: {text}"));
    }
}

fn said_is_stored(board: &Board, bytes: &[u8]) -> Result<(), String> {
    let stored = &board.stored;
    match message::decode_up(bytes).map_err(|code| code.to_string())? {
        Up::Hello(Hello { active, candidate, .. }) => {
            if active.as_ref() != stored.active_serial() {
                return Err(format!(
                    "says its active certificate is {active:?}, stored is {:?}",
                    stored.active_serial()
                ));
            }
            let serial = |slot: &StoredSlot| slot.certificate.as_ref().map(|(serial, _)| serial.clone());
            let in_store = stored.candidate().and_then(serial);
            if candidate.is_some() && candidate != in_store {
                return Err(format!("says its candidate is {candidate:?}, stored is {in_store:?}"));
            }
            Ok(())
        }
        Up::Request { csr } => {
            let asked = |slot: &&StoredSlot| {
                let key = slot.record.public_key.as_sec1();
                csr.windows(key.len()).any(|window| window == key)
            };
            let slot = stored.slots.iter().flatten().find(asked);
            let slot = slot.map(|slot| (slot.has_key, slot.record.phase));
            if slot == Some((true, Phase::Keyed)) {
                Ok(())
            } else {
                Err(format!("asks for a certificate for a key that is not stored: {slot:?}"))
            }
        }
        Up::Confirm { serial } => {
            let named = |slot: &&StoredSlot| slot.certificate.as_ref().is_some_and(|(held, _)| *held == serial);
            let slot = stored.slots.iter().flatten().find(named);
            if slot.is_some_and(|slot| slot.has_key && matches!(slot.record.phase, Phase::Trial(_))) {
                Ok(())
            } else {
                Err(format!("confirms {serial}, which is not on trial in the store"))
            }
        }
        Up::Retire => Ok(()),
    }
}

/// Nothing that the gateway says can be unsaid by a crash.
pub(crate) fn at_answer(world: &mut World, device: usize, bytes: &[u8]) {
    let row = world.gateway.registry.row(device);
    let wrong = match message::decode_down(bytes) {
        Ok(Down::Confirmed { serial }) => row.current.as_ref().is_none_or(|current| current.serial != serial),
        Ok(Down::Retired) => row.standing != Standing::Retired,
        Ok(_) => false,
        Err(_) => true,
    };
    if wrong {
        let text = format!("dev-{device} is told what is not stored: {row:?}");
        world.violated("nothing_answered_before_stored", text);
    }
}

/// The old certificate is withdrawn only after the device has stored the new one; a candidate only after the device
/// has given it up.
pub(crate) fn at_commit(world: &mut World, device: usize, change: &Change<'_>) {
    let now = world.now;
    if change.issued.is_some() {
        let issued = &mut world.boards[device].issued;
        issued.push_back(now);
        while issued.front().is_some_and(|at| now.since(*at) > 3_600_000) {
            issued.pop_front();
        }
    }
    let by_operator = matches!(change.event, Event::Revoked(_) | Event::Retired);
    let stored = &world.boards[device].stored;
    let candidate = stored.candidate().and_then(|candidate| candidate.certificate.as_ref()).map(|(serial, _)| serial);
    let held = [stored.active_serial(), candidate];
    let lost = change
        .withdrawn
        .iter()
        .find(|(serial, reason)| *reason == Reason::Superseded && !by_operator && held.contains(&Some(serial)));
    if let Some((serial, _)) = lost {
        let text = format!("{serial} is withdrawn by {:?} while dev-{device} lives on it", change.event);
        return world.violated("old_revoked_only_after_device_stored_new", text);
    }
    if by_operator {
        let serials = change.withdrawn.iter().map(|(serial, _)| serial.clone());
        world.gateway.withdrawn_by_operator.extend(serials);
    }
}

/// Whom the gateway lets in.
pub(crate) fn at_admit(world: &mut World, device: usize, client: &VerifiedClient) {
    if let Some(code) = world.gateway.kept_out[device] {
        return world.violated("kept_out_is_never_admitted", format!("dev-{device} was admitted: {code}"));
    }
    let status = world.gateway.registry.status(client.serial());
    if client.role() == Role::Ldevid && status != CertificateStatus::Good {
        world.violated("kept_out_is_never_admitted", format!("dev-{device} was admitted: {status:?}"));
    }
}
