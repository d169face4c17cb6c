//! An open connection: control messages that come, and what is due while it lasts.

use crate::code::{Code, Disposition};
use crate::message::{self, Down, Refused, Welcome};
use crate::time::{Millis, Now};

use super::schedule::{renew_at, uptime_of};
use super::state::{Confirming, Enrolling, Lapsed, Link, Operational, Probe, Rekeying, Request, State, Step};
use super::{Action, Credential, Device, Event};

/// How long a device keeps its key after the gateway finally refused a new one.
const REFUSED_ROTATION_PAUSE_MILLIS: u64 = 3_600_000;

impl Device {
    pub(super) fn message(&mut self, now: Now, bytes: &[u8]) {
        let Link::Open { credential, .. } = self.link else {
            return;
        };
        match message::decode_down(bytes) {
            Ok(Down::Welcome(welcome)) => self.welcome(now, &welcome, credential),
            Ok(Down::Issued(issued)) => self.issued(now, &issued),
            Ok(Down::Refused(refused)) => self.refused(now, refused, credential),
            Ok(Down::Rotate { .. }) => self.want_rotation(),
            Ok(Down::Confirmed { serial }) => self.confirmed(now, &serial, credential),
            Ok(Down::Bundle { signed }) => self.offer_bundle(now, signed),
            Ok(Down::Retired) if self.retiring => self.retired_now(),
            Ok(Down::Retired) => {}
            Err(code) => self.push(Action::Event(Event::GatewayRefused(code))),
        }
    }

    fn welcome(&mut self, now: Now, welcome: &Welcome, credential: Credential) {
        self.clock.tell(welcome.time, now);
        self.raise_floor(welcome.time, now);
        let asked = self.state.request_mut().is_some_and(|request| request.step == Step::Asked);
        if let Link::Open { welcomed, answer_by, .. } = &mut self.link {
            *welcomed = true;
            // A welcome that comes twice does not answer the request that was made in between.
            if !asked {
                *answer_by = None;
            }
        }
        if welcome.order.is_some() {
            self.want_rotation();
        }
        if let State::Confirming(Confirming { candidate, probe: Probe::Candidate, .. }) = self.state
            && credential == Credential::Slot(candidate)
        {
            self.push(Action::Confirm(candidate));
            self.expect_answer(now);
        }
    }

    /// Takes an order only while there is nothing to rotate already: the gateway repeats it in its next welcome.
    pub(super) fn want_rotation(&mut self) {
        if matches!(self.state, State::Operational(_)) {
            self.rotate_wanted = true;
        }
    }

    /// What is due on a session that the gateway has welcomed.
    pub(super) fn drive_session(&mut self, now: Now) {
        let Link::Open { credential, .. } = self.link else {
            return;
        };
        match self.state {
            State::Manufactured(_) if credential == Credential::Idevid => {
                let slot = self.slot_for_first();
                let request = self.begin_request(slot);
                self.state = State::Enrolling(Enrolling { lapsed: None, request });
            }
            State::Lapsed(Lapsed { active }) if credential == Credential::Idevid => {
                let request = self.begin_request(active.other());
                self.state = State::Enrolling(Enrolling { lapsed: Some(active), request });
            }
            State::Operational(Operational { active }) if self.rotation_due(now) => {
                self.rotate_wanted = false;
                let request = self.begin_request(active.other());
                self.state = State::Rekeying(Rekeying { active, request });
            }
            State::Enrolling(_) | State::Rekeying(_) => self.drive_request(now),
            State::Confirming(confirming) => {
                if let Probe::Waiting(until) = confirming.probe
                    && now.uptime >= until
                {
                    self.hang_up(now);
                    let confirming = Confirming { probe: Probe::Candidate, ..confirming };
                    self.state = State::Confirming(confirming);
                    self.connect_on_trial(now, confirming);
                }
            }
            _ => {}
        }
    }

    fn rotation_due(&self, now: Now) -> bool {
        let State::Operational(Operational { active }) = self.state else {
            return false;
        };
        if now.uptime < self.rotate_not_before {
            return false;
        }
        let known = self.clock.now(now);
        self.rotate_wanted || self.renewal(active).is_some_and(|due| known >= due)
    }

    fn renewal(&self, slot: crate::slot::SlotId) -> Option<crate::time::UnixTime> {
        let (not_before, not_after) = self.validity(slot)?;
        Some(renew_at(not_before, not_after, self.policy.renew_at_percent, self.seed))
    }

    /// When the state itself has something due, apart from the link.
    pub(super) fn state_timeout(&self) -> Option<Millis> {
        let open = matches!(self.link, Link::Open { welcomed: true, .. });
        match self.state {
            State::Operational(Operational { active }) | State::Rekeying(Rekeying { active, .. }) if open => {
                if let State::Rekeying(Rekeying { request: Request { step: Step::Again(at), .. }, .. }) = self.state {
                    return Some(at);
                }
                let (_, not_after) = self.validity(active)?;
                let due = self.renewal(active).map_or(not_after, |due| due.min(not_after));
                let known = self.clock.now(self.last_seen);
                let due = if known >= due { not_after.plus_secs(1) } else { due };
                let at = uptime_of(due, known, self.last_seen.uptime);
                let held = self.rotate_not_before > self.last_seen.uptime;
                Some(if held { at.min(self.rotate_not_before) } else { at })
            }
            State::Enrolling(Enrolling { request: Request { step: Step::Again(at), .. }, .. }) if open => Some(at),
            State::Confirming(Confirming { probe: Probe::Waiting(until), .. }) if open => Some(until),
            _ => None,
        }
    }

    fn refused(&mut self, now: Now, refused: Refused, credential: Credential) {
        let Refused { code, retry_after_secs } = refused;
        self.push(Action::Event(Event::Refused(code)));
        if !matches!(self.link, Link::Open { welcomed: true, .. }) {
            // The hello itself was refused: nothing can be asked on this session.
            self.push(Action::Disconnect);
            self.disconnected(now, super::Failure::Refused(code));
            return;
        }
        if let Link::Open { answer_by, .. } = &mut self.link {
            *answer_by = None;
        }
        if self.retiring {
            self.retired_now();
            return;
        }
        match self.state {
            State::Confirming(Confirming { candidate, .. }) if credential == Credential::Slot(candidate) => {
                self.push(Action::Disconnect);
                self.disconnected(now, super::Failure::Refused(code));
            }
            State::Enrolling(Enrolling { lapsed, request }) => {
                if code == Code::EnrolKeyReused {
                    self.give_up(request.slot);
                    self.state = lapsed.map_or(State::Manufactured(super::state::Manufactured), |active| {
                        State::Lapsed(Lapsed { active })
                    });
                }
                self.request_refused(now, code, retry_after_secs);
            }
            State::Rekeying(Rekeying { active, request }) => match code.disposition() {
                Disposition::Never => {
                    self.give_up(request.slot);
                    self.state = State::Operational(Operational { active });
                    let pause = if code == Code::EnrolKeyReused {
                        self.settings.trial_pause_millis
                    } else {
                        REFUSED_ROTATION_PAUSE_MILLIS
                    };
                    self.rotate_wanted = true;
                    self.rotate_not_before = now.uptime.plus(pause);
                }
                Disposition::Enrol => {
                    self.back_off(now, code);
                    let request = Request { step: Step::Waiting, ..request };
                    self.state = State::Enrolling(Enrolling { lapsed: Some(active), request });
                }
                Disposition::Retry | Disposition::AskOperator => self.request_refused(now, code, retry_after_secs),
            },
            _ => {
                self.push(Action::Disconnect);
                self.disconnected(now, super::Failure::Refused(code));
            }
        }
    }

    fn request_refused(&mut self, now: Now, code: Code, retry_after_secs: u32) {
        if code.disposition() == Disposition::Retry {
            let backoff = self.backoff.next(self.settings.backoff_millis_min, self.settings.backoff_millis_max);
            let wait = backoff.max(u64::from(retry_after_secs) * 1000);
            if let Some(request) = self.state.request_mut() {
                request.step = Step::Again(now.uptime.plus(wait));
            }
        } else {
            self.back_off(now, code);
        }
    }
}
