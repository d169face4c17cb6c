//! What operators do with a device. Each act that keeps it out ends its live sessions, after it is stored.

use crate::code::Code;

use super::output::{Act, Event};
use super::record::Reason;
use super::state::{State, Welcome};
use super::{Action, Registrar};

impl Registrar {
    pub(super) fn operate(&mut self, act: Act) {
        let done = match act {
            Act::Rotate => self.order_rotation(),
            Act::Suspend(reason) => self.suspend(reason),
            Act::Resume => self.resume(),
            Act::Revoke(reason) => self.revoke(reason),
            Act::Retire => self.retire(Reason::CessationOfOperation),
        };
        self.push(Action::Done(done));
    }

    fn order_rotation(&mut self) -> Result<(), Code> {
        match &self.state {
            State::In(Welcome::Active(_) | Welcome::Enrolling(_)) => {
                self.record.orders = self.record.orders.saturating_add(1);
                let order = self.record.orders;
                self.record.order = Some(order);
                self.push(Action::Persist(Event::RotationOrdered(order)));
                self.push(Action::Order(order));
                Ok(())
            }
            State::In(Welcome::Expected | Welcome::Claimed) => Err(Code::DeviceState),
            State::Suspended { .. } | State::Revoked(_) | State::Retired => {
                Err(self.state.kept_out().unwrap_or(Code::DeviceState))
            }
        }
    }

    fn suspend(&mut self, reason: Option<Reason>) -> Result<(), Code> {
        match self.state.clone() {
            State::In(was) => {
                self.state = State::Suspended { was, reason };
                self.push(Action::Persist(Event::Suspended));
                self.push(Action::Cut(Code::DeviceSuspended));
                Ok(())
            }
            State::Suspended { .. } => Ok(()),
            State::Revoked(_) => Err(Code::DeviceRevoked),
            State::Retired => Err(Code::DeviceRetired),
        }
    }

    fn resume(&mut self) -> Result<(), Code> {
        self.state = match self.state.clone() {
            State::Suspended { was, .. } => State::In(was),
            // Its certificates stay withdrawn: it comes back by its IDevID.
            State::Revoked(_) => State::In(Welcome::Claimed),
            State::In(_) => return Ok(()),
            State::Retired => return Err(Code::DeviceRetired),
        };
        self.push(Action::Persist(Event::Resumed));
        Ok(())
    }

    fn revoke(&mut self, reason: Reason) -> Result<(), Code> {
        if self.state == State::Retired {
            return Err(Code::DeviceRetired);
        }
        if matches!(self.state, State::Revoked(_)) {
            return Ok(());
        }
        self.withdraw_all(reason);
        self.state = State::Revoked(reason);
        self.push(Action::Persist(Event::Revoked(reason)));
        self.push(Action::Cut(Code::DeviceRevoked));
        Ok(())
    }

    fn retire(&mut self, reason: Reason) -> Result<(), Code> {
        if self.state != State::Retired {
            self.withdraw_all(reason);
            self.state = State::Retired;
            self.push(Action::Persist(Event::Retired));
            self.push(Action::Cut(Code::DeviceRetired));
        }
        Ok(())
    }

    pub(super) fn retired_by_device(&mut self) {
        self.withdraw_all(Reason::CessationOfOperation);
        self.state = State::Retired;
        self.push(Action::Persist(Event::Retired));
        self.push(Action::Retired);
        // A device that is told so too late retires when its session ends; one that would go on cannot.
        self.push(Action::Cut(Code::DeviceRetired));
    }

    fn withdraw_all(&mut self, reason: Reason) {
        self.record.order = None;
        let inside = match &self.state {
            State::In(inside) | State::Suspended { was: inside, .. } => inside.clone(),
            State::Revoked(_) | State::Retired => return,
        };
        for credential in inside.credentials() {
            self.withdraw(credential.serial.clone(), reason);
        }
    }
}
