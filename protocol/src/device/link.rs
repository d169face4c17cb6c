//! The connection: which credential, when, and what a failure means.

use crate::code::{Code, Disposition};
use crate::pki::chain::VerifiedGateway;
use crate::slot::store::Item;
use crate::time::Now;

use super::state::{Confirming, Enrolling, Lapsed, Link, Operational, Probe, Rekeying, State, Step};
use super::{Action, Credential, Device, Event, Failure};

impl Device {
    /// Does what is due: connect, give up waiting, go on with the state's own business.
    pub(super) fn drive(&mut self, now: Now) {
        if matches!(self.state, State::Retired) {
            return;
        }
        self.lapse_when_expired(now);
        match self.link {
            Link::Down { retry_at } if now.uptime >= retry_at => self.try_connect(now),
            Link::Connecting { give_up_at, .. } if now.uptime >= give_up_at => {
                self.push(Action::Disconnect);
                self.connect_failed(now, Failure::Unreachable);
            }
            Link::Open { answer_by: Some(answer_by), .. } if now.uptime >= answer_by => {
                if self.retiring {
                    self.retired_now();
                    return;
                }
                self.push(Action::Disconnect);
                self.disconnected(now, Failure::Unreachable);
            }
            Link::Open { since, welcomed: true, .. } => {
                if now.uptime.since(since) >= self.settings.stable_millis {
                    self.backoff.reset();
                }
                self.drive_session(now);
            }
            _ => {}
        }
    }

    fn try_connect(&mut self, now: Now) {
        match self.state {
            State::Manufactured(_) | State::Enrolling(_) | State::Lapsed(_) => self.connect(now, Credential::Idevid),
            State::Operational(Operational { active }) | State::Rekeying(Rekeying { active, .. }) => {
                self.connect(now, Credential::Slot(active));
            }
            State::Confirming(confirming) => self.connect_on_trial(now, confirming),
            State::Retired => {}
        }
    }

    pub(super) fn connect(&mut self, now: Now, credential: Credential) {
        self.push(Action::Connect(credential));
        // An attempt is a TCP connection, a handshake and a CONNECT: twice an answer's time is ample.
        let give_up_at = now.uptime.plus(self.settings.answer_millis_max * 2);
        self.link = Link::Connecting { credential, give_up_at };
    }

    pub(super) fn connected(&mut self, now: Now, gateway: &VerifiedGateway) {
        let Link::Connecting { credential, .. } = self.link else {
            return;
        };
        self.link = Link::Open { credential, since: now.uptime, welcomed: false, answer_by: None };
        self.gateway_not_after = gateway.not_after();
        self.raise_floor(gateway.not_before(), now);
        if let State::Confirming(confirming) = self.state {
            self.connected_on_trial(now, confirming, credential);
        }
        if matches!(self.link, Link::Open { .. }) {
            self.push(Action::Hello);
            self.expect_answer(now);
        }
    }

    pub(super) fn connect_failed(&mut self, now: Now, failure: Failure) {
        if let Link::Connecting { credential, .. } = self.link {
            self.link_lost(now, credential, failure);
        }
    }

    pub(super) fn disconnected(&mut self, now: Now, failure: Failure) {
        if let Link::Open { credential, .. } = self.link {
            self.link_lost(now, credential, failure);
        }
    }

    fn link_lost(&mut self, now: Now, credential: Credential, failure: Failure) {
        self.forget_session();
        match failure {
            Failure::Unreachable => {}
            Failure::Refused(code) => self.push(Action::Event(Event::Refused(code))),
            Failure::GatewayUntrusted(code) => {
                self.push(Action::Event(Event::GatewayRefused(code)));
                // Perhaps the gateway CA changed while this device slept.
                self.push(Action::FetchBundle);
            }
        }
        self.wait(now, failure);
        if self.retiring {
            self.retired_now();
            return;
        }
        match self.state {
            State::Confirming(confirming) => self.trial_failed(now, confirming, credential, failure),
            State::Operational(Operational { active }) if spent(failure) => {
                self.state = State::Lapsed(Lapsed { active });
            }
            State::Rekeying(Rekeying { active, request }) if spent(failure) => {
                self.state = State::Enrolling(Enrolling { lapsed: Some(active), request });
            }
            // The IDevID did not help either. An unexpired credential may have been refused for a passing reason, so
            // the two take turns; an expired one goes back to the IDevID before it is tried.
            State::Lapsed(Lapsed { active }) => self.state = State::Operational(Operational { active }),
            State::Enrolling(Enrolling { lapsed: Some(active), request }) => {
                self.state = State::Rekeying(Rekeying { active, request });
            }
            _ => {}
        }
    }

    /// Sets the time of the next attempt.
    pub(super) fn wait(&mut self, now: Now, failure: Failure) {
        let settings = self.settings;
        let ask_operator = matches!(failure, Failure::Refused(code) if code.disposition() == Disposition::AskOperator);
        let wait = if ask_operator {
            self.backoff.next(settings.operator_backoff_millis_min, settings.operator_backoff_millis_max)
        } else {
            let fleet_max = u64::from(self.policy.backoff_secs_max) * 1000;
            self.backoff.next(settings.backoff_millis_min, settings.backoff_millis_max.min(fleet_max))
        };
        self.link = Link::Down { retry_at: now.uptime.plus(wait) };
    }

    /// Ends the connection on our side; the next attempt is due at once. A wait that is under way goes on.
    pub(super) fn hang_up(&mut self, now: Now) {
        if !matches!(self.link, Link::Down { .. }) {
            self.forget_session();
            self.push(Action::Disconnect);
            self.link = Link::Down { retry_at: now.uptime };
        }
    }

    /// Ends the connection on our side, for a reason that wants patience.
    pub(super) fn back_off(&mut self, now: Now, code: Code) {
        self.hang_up(now);
        self.wait(now, Failure::Refused(code));
    }

    /// What was to be said on the session that ended is not said on the next.
    fn forget_session(&mut self) {
        let spoken = |action: &Action| {
            matches!(
                action,
                Action::Hello | Action::Request(_) | Action::Confirm(_) | Action::SendRetire | Action::Connect(_)
            )
        };
        for _ in 0..self.queue.len() {
            if let Some(action) = self.queue.pop_front()
                && !spoken(&action)
            {
                self.push(action);
            }
        }
        if let Some(request) = self.state.request_mut()
            && matches!(request.step, Step::Asked | Step::Again(_))
        {
            request.step = Step::Waiting;
        }
    }

    pub(super) fn expect_answer(&mut self, now: Now) {
        if let Link::Open { answer_by, .. } = &mut self.link {
            *answer_by = Some(now.uptime.plus(self.settings.answer_millis_max));
        }
    }

    pub(super) fn raise_floor(&mut self, time: crate::time::UnixTime, now: Now) {
        if self.clock.raise(time, self.gateway_not_after, now) {
            self.push(Action::Persist(Item::Life));
            self.push(Action::Event(Event::FloorRaised(self.clock.floor())));
        }
    }

    /// The credential with which the device was reachable before the candidate.
    pub(super) fn fallback(&self, confirming: Confirming, now: Now) -> Credential {
        let known = self.clock.now(now);
        let usable = |slot| self.validity(slot).is_some_and(|(_, not_after)| known <= not_after);
        match (confirming.probe, confirming.active) {
            (Probe::Fallback | Probe::Waiting(_) | Probe::Candidate, Some(active)) if usable(active) => {
                Credential::Slot(active)
            }
            _ => Credential::Idevid,
        }
    }
}

/// Whether a failure says that this credential will not do any more.
pub(super) fn spent(failure: Failure) -> bool {
    matches!(failure, Failure::Refused(code) if code.disposition() == Disposition::Enrol)
}
