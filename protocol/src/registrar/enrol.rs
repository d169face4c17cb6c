//! Requests for certificates: enrolment under the IDevID and rotation under the LDevID are the same act, with the same
//! checks. Idempotent by public key: a device that lost the answer asks again and gets the same certificate.

use crate::code::Code;
use crate::pki::chain::{Role, VerifiedClient, verify_issued};
use crate::pki::csr::verify_csr;

use super::output::{Event, KeyUse};
use super::record::{Credential, Reason};
use super::state::{Active, Candidate, State, Welcome};
use super::{Action, CertificateParts, Pending, Registrar};

impl Registrar {
    pub(super) fn request(&mut self, client: &VerifiedClient, csr: &[u8]) {
        let identity = self.record.identity(&self.context.fleet);
        let public_key = match verify_csr(csr, &identity) {
            Ok(csr) => *csr.public_key(),
            Err(code) => return self.refuse_message(code),
        };
        let State::In(inside) = &self.state else {
            return self.refuse_message(Code::DeviceState);
        };
        let candidate = match inside {
            Welcome::Enrolling(candidate) => Some(candidate),
            Welcome::Active(Active { candidate, .. }) => candidate.as_ref(),
            Welcome::Expected | Welcome::Claimed => None,
        };
        if let Some(Candidate { credential, .. }) = candidate
            && credential.key == public_key.fingerprint()
        {
            let serial = credential.serial.clone();
            return self.push(Action::SendCertificate(serial));
        }
        self.pending = Some(Pending { public_key, role: client.role() });
        self.push(Action::LookUpKey);
    }

    pub(super) fn key_looked_up(&mut self, key_use: KeyUse) {
        match (self.pending, key_use) {
            (Some(_), KeyUse::Fresh) => self.push(Action::Issue),
            (Some(_), KeyUse::Spent) => {
                self.pending = None;
                self.refuse_message(Code::EnrolKeyReused);
            }
            (None, _) => {}
        }
    }

    pub(super) fn issued(&mut self, certificate: &[u8]) {
        let Some(Pending { public_key, role }) = self.pending.take() else {
            return;
        };
        let identity = self.record.identity(&self.context.fleet);
        // The issuer is ours, and still its work is checked by the code that the device will check it with.
        let Ok(issued) = verify_issued(certificate, &identity, &public_key) else {
            return self.failed();
        };
        let Ok(der) = heapless::Vec::from_slice(certificate) else {
            return self.failed();
        };
        let State::In(inside) = self.state.clone() else {
            return self.failed();
        };
        self.certificate = der;
        let serial = issued.serial().clone();
        let key = public_key.fingerprint();
        self.new_certificate = Some(CertificateParts {
            serial: serial.clone(),
            key,
            not_before: issued.not_before(),
            not_after: issued.not_after(),
        });
        let credential = Credential { serial: serial.clone(), key, not_after: issued.not_after() };
        let candidate = Candidate { credential, order: self.record.orders };
        let (replaced, next) = match inside {
            Welcome::Expected | Welcome::Claimed => (None, Welcome::Enrolling(candidate)),
            Welcome::Enrolling(replaced) => (Some(replaced), Welcome::Enrolling(candidate)),
            Welcome::Active(active) => {
                (active.candidate, Welcome::Active(Active { candidate: Some(candidate), ..active }))
            }
        };
        if let Some(replaced) = replaced {
            self.withdraw(replaced.credential.serial, Reason::Superseded);
        }
        self.state = State::In(next);
        let event = if role == Role::Idevid { Event::Enrolled(serial.clone()) } else { Event::Rotated(serial.clone()) };
        self.push(Action::Persist(event));
        self.push(Action::SendCertificate(serial));
    }
}
