//! Who may have a session. The chain is proven already; the registry is the second lock.

use crate::code::Code;
use crate::pki::chain::{Role, VerifiedClient};

use super::output::{CertificateStatus, Event};
use super::record::Reason;
use super::state::{State, Welcome};
use super::{Action, Registrar};

impl Registrar {
    pub(super) fn arrived(&mut self, client: &VerifiedClient, status: CertificateStatus) {
        let verdict = self.keeps_out(client).map_or_else(|| self.knows(client, status), Err);
        match verdict {
            Ok(()) => {
                if client.role() == Role::Idevid && self.state == State::In(Welcome::Expected) {
                    self.state = State::In(Welcome::Claimed);
                    self.push(Action::Persist(Event::Claimed));
                }
                self.push(Action::Admit);
            }
            Err(code) => {
                self.push(Action::Event(Event::Refused(code)));
                self.push(Action::Refuse(code));
            }
        }
    }

    /// What bars the device, whatever certificate it shows.
    pub(super) fn keeps_out(&self, client: &VerifiedClient) -> Option<Code> {
        if client.device() != Some(&self.record.device) {
            return Some(Code::DeviceUnknown);
        }
        self.state.kept_out()
    }

    fn knows(&self, client: &VerifiedClient, status: CertificateStatus) -> Result<(), Code> {
        let State::In(inside) = &self.state else {
            return Err(Code::DeviceState);
        };
        match client.role() {
            Role::Idevid if client.fingerprint() == self.record.idevid => Ok(()),
            Role::Idevid => Err(Code::DeviceWrongIdevid),
            Role::Ldevid => match status {
                CertificateStatus::Withdrawn(Reason::Superseded) => Err(Code::CertificateSuperseded),
                CertificateStatus::Withdrawn(_) => Err(Code::CertificateRevoked),
                CertificateStatus::Unknown => Err(Code::CertificateUnknown),
                CertificateStatus::Good => inside
                    .credentials()
                    .any(|credential| credential.serial == *client.serial() && credential.key == client.fingerprint())
                    .then_some(())
                    .ok_or(Code::CertificateUnknown),
            },
            Role::Service | Role::Operator => Err(Code::DeviceUnknown),
        }
    }
}
