//! From candidate to current, and the end of the old certificate.
//!
//! The device connects under the candidate and confirms; the old certificate stays accepted until a later hello says
//! that the device has stored the new one. A hello that says it went back to the old one is believed, also when the old
//! one has lapsed and the device comes by its IDevID: only the device knows which key it still has.

use crate::code::Code;
use crate::message::Hello;
use crate::pki::chain::{Role, VerifiedClient};
use crate::pki::serial::Serial;
use crate::time::UnixTime;

use super::output::Event;
use super::record::Reason;
use super::state::{Active, State, Welcome};
use super::{Action, Registrar};

impl Registrar {
    pub(super) fn hello(&mut self, now: UnixTime, client: &VerifiedClient, hello: &Hello) {
        self.settle(client, hello);
        self.push(Action::Welcome(now));
        if hello.bundle < self.context.bundle {
            self.push(Action::SendBundle);
        }
    }

    fn settle(&mut self, client: &VerifiedClient, hello: &Hello) {
        let State::In(Welcome::Active(Active { current, previous: Some(previous), candidate })) = self.state.clone()
        else {
            return;
        };
        let Some(active) = &hello.active else {
            return;
        };
        if *active == current.serial {
            self.withdraw(previous.serial.clone(), Reason::Superseded);
            self.state = State::In(Welcome::Active(Active { current, previous: None, candidate }));
            self.push(Action::Persist(Event::Superseded(previous.serial)));
        } else if *active == previous.serial
            && hello.candidate.as_ref() != Some(&current.serial)
            && (client.role() == Role::Idevid || *client.serial() == previous.serial)
        {
            self.withdraw(current.serial, Reason::Superseded);
            let serial = previous.serial.clone();
            self.state = State::In(Welcome::Active(Active { current: previous, previous: None, candidate }));
            self.push(Action::Persist(Event::RolledBack(serial)));
        }
    }

    pub(super) fn confirm(&mut self, client: &VerifiedClient, serial: &Serial) {
        if client.role() != Role::Ldevid || client.serial() != serial {
            return self.refuse_message(Code::EnrolWrongConfirmation);
        }
        let State::In(inside) = self.state.clone() else {
            return self.refuse_message(Code::DeviceState);
        };
        let (candidate, current, older) = match inside {
            Welcome::Enrolling(candidate) if candidate.credential.serial == *serial => (candidate, None, None),
            Welcome::Active(Active { current, previous, candidate: Some(candidate) })
                if candidate.credential.serial == *serial =>
            {
                (candidate, Some(current), previous)
            }
            Welcome::Active(Active { current, .. }) if current.serial == *serial => {
                // The answer to the first confirmation was lost.
                return self.push(Action::Confirmed(serial.clone()));
            }
            _ => return self.refuse_message(Code::EnrolWrongConfirmation),
        };
        if let Some(older) = older {
            self.withdraw(older.serial, Reason::Superseded);
        }
        if self.record.order.is_some_and(|order| order <= candidate.order) {
            self.record.order = None;
        }
        self.state =
            State::In(Welcome::Active(Active { current: candidate.credential, previous: current, candidate: None }));
        self.push(Action::Persist(Event::Confirmed(serial.clone())));
        self.push(Action::Confirmed(serial.clone()));
    }
}
