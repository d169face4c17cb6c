//! The trial of a candidate.
//!
//! A trial is counted and stored before the device connects with the candidate. When that fails, what worked before is
//! connected: if it works, the trial stays counted, and after [`TRIALS_MAX`] the candidate is given up; if it fails as
//! well, the gateway is away, and the trial is given back. An outage burns nothing.

use crate::limits::TRIALS_MAX;
use crate::pki::serial::Serial;
use crate::slot::{Phase, SlotId};
use crate::time::Now;

use super::link::spent;
use super::state::{Confirming, Lapsed, Link, Manufactured, Operational, Probe, State};
use super::{Action, Credential, Device, Event, Failure, Settings};

impl Device {
    pub(super) fn connect_on_trial(&mut self, now: Now, confirming: Confirming) {
        let Confirming { candidate, probe, .. } = confirming;
        let trials = self.trials(candidate);
        match probe {
            Probe::Candidate | Probe::Waiting(_) if trials < TRIALS_MAX => {
                self.state = State::Confirming(Confirming { probe: Probe::Candidate, ..confirming });
                self.set_phase(candidate, Phase::Trial(trials + 1));
                self.connect(now, Credential::Slot(candidate));
            }
            Probe::Candidate | Probe::Waiting(_) => {
                let confirming = Confirming { probe: Probe::Fallback, ..confirming };
                self.state = State::Confirming(confirming);
                self.connect(now, self.fallback(confirming, now));
            }
            Probe::Fallback | Probe::Idevid => self.connect(now, self.fallback(confirming, now)),
        }
    }

    /// A connection stands. If it is not the candidate's, the candidate's failure counts.
    pub(super) fn connected_on_trial(&mut self, now: Now, confirming: Confirming, credential: Credential) {
        let Confirming { candidate, active, .. } = confirming;
        if credential == Credential::Slot(candidate) {
            return;
        }
        let trials = self.trials(candidate);
        self.push(Action::Event(Event::TrialCounted(trials)));
        if trials < TRIALS_MAX {
            let until = now.uptime.plus(self.settings.trial_pause_millis);
            self.state = State::Confirming(Confirming { probe: Probe::Waiting(until), ..confirming });
            return;
        }
        self.give_up(candidate);
        self.push(Action::Event(Event::RolledBack));
        // Whatever is wrong with the candidate may be wrong with the next one: each costs a certificate.
        let Settings { operator_backoff_millis_min: min, operator_backoff_millis_max: max, .. } = self.settings;
        let again_at = now.uptime.plus(self.rollbacks.next(min, max));
        self.rotate_not_before = again_at;
        self.state = match (credential, active) {
            (Credential::Slot(active), _) => State::Operational(Operational { active }),
            (Credential::Idevid, Some(active)) => State::Lapsed(Lapsed { active }),
            (Credential::Idevid, None) => State::Manufactured(Manufactured),
        };
        if credential == Credential::Idevid {
            self.hang_up(now);
            self.link = Link::Down { retry_at: again_at };
        }
    }

    pub(super) fn trial_failed(&mut self, now: Now, confirming: Confirming, credential: Credential, failure: Failure) {
        let Confirming { candidate, probe, .. } = confirming;
        let next = match probe {
            Probe::Candidate => {
                self.link = Link::Down { retry_at: now.uptime };
                Probe::Fallback
            }
            Probe::Fallback if spent(failure) && credential != Credential::Idevid => {
                self.link = Link::Down { retry_at: now.uptime };
                Probe::Idevid
            }
            Probe::Fallback | Probe::Idevid => {
                let phase = match self.trials(candidate) {
                    0 | 1 => Phase::Issued,
                    trials => Phase::Trial(trials - 1),
                };
                self.set_phase(candidate, phase);
                self.push(Action::Event(Event::TrialGivenBack));
                Probe::Candidate
            }
            // What worked before was connected and is gone; nothing is learned about the candidate.
            Probe::Waiting(_) => Probe::Candidate,
        };
        self.state = State::Confirming(Confirming { probe: next, ..confirming });
    }

    /// The gateway has stored that the candidate works.
    pub(super) fn confirmed(&mut self, now: Now, serial: &Serial, credential: Credential) {
        let State::Confirming(Confirming { candidate, active, .. }) = self.state else {
            return;
        };
        if credential != Credential::Slot(candidate) || self.serial(candidate).as_ref() != Some(serial) {
            return;
        }
        self.set_phase(candidate, Phase::Confirmed);
        if let Some(active) = active {
            self.supersede(active);
        }
        self.state = State::Operational(Operational { active: candidate });
        // What was wanted has happened; an order that is still open comes with the next welcome.
        self.rotate_wanted = false;
        self.rollbacks.reset();
        // The gateway revokes the old certificate only when it hears that the new one is stored.
        self.push(Action::Hello);
        self.expect_answer(now);
    }

    fn trials(&self, slot: SlotId) -> u8 {
        match self.slot(slot).map(|record| record.phase) {
            Some(Phase::Trial(trials)) => trials,
            _ => 0,
        }
    }
}
