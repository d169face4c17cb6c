//! What the agent lets be known, as codes: firmware carries no text formatting.
//!
//! A board takes [`Told`] values in [`crate::agent::App::told`] and does what it likes with them. [`Told::code`] is a
//! number for a log in flash or a radio; [`Told::write`] is a line for a serial port, put together from fixed words and
//! decimal numbers without `core::fmt`, and linked only when a board calls it.

use muster_protocol::Code;
use muster_protocol::device::{Credential, Event, Failure};
use muster_protocol::slot::SlotId;

/// Something that happened. Names are those of the Linux agent's log, wherever both know the same thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// The core says something.
    Device(Event),
    /// A connection is tried.
    Dialling(Credential),
    /// TCP stands.
    Reached(Credential),
    /// TLS stands: the gateway was verified, and has seen our certificate.
    Secured(Credential),
    /// The session stands.
    Opened(Credential),
    /// It did not come about, or has ended.
    Closed(Failure),
    /// A report or an answer was refused, and the session goes on.
    PublicationRefused(Code),
    /// A stored trust bundle is not usable; the factory's is.
    TrustUnusable(Code),
    /// No trust bundle came from the open address.
    BundleNotFetched,
    /// A core is booted anew from the records.
    Restart,
}

impl Told {
    /// A number for each kind of thing, and what goes with it: a refusal code, a state, a count.
    #[must_use]
    pub fn code(&self) -> (u8, u32) {
        let refusal = |code: Code| code as u32;
        match *self {
            Self::Device(Event::Entered(state)) => (1, state as u32),
            Self::Device(Event::Refused(code)) => (2, refusal(code)),
            Self::Device(Event::GatewayRefused(code)) => (3, refusal(code)),
            Self::Device(Event::TrialCounted(trials)) => (4, u32::from(trials)),
            Self::Device(Event::TrialGivenBack) => (5, 0),
            Self::Device(Event::RolledBack) => (6, 0),
            Self::Device(Event::BundleInForce(number)) => (7, number),
            Self::Device(Event::BundleRefused(code)) => (8, refusal(code)),
            Self::Device(Event::FloorRaised(floor)) => (9, u32::try_from(floor.0).unwrap_or(u32::MAX)),
            Self::Device(Event::KeyStoreFailed) => (10, 0),
            Self::Device(Event::StoreFailed) => (11, 0),
            Self::Device(_) => (12, 0),
            Self::Dialling(credential) => (13, number(credential)),
            Self::Opened(credential) => (14, number(credential)),
            Self::Closed(failure) => (15, failed(failure).map_or(0, refusal)),
            Self::PublicationRefused(code) => (16, refusal(code)),
            Self::TrustUnusable(code) => (17, refusal(code)),
            Self::BundleNotFetched => (18, 0),
            Self::Restart => (19, 0),
            Self::Secured(credential) => (20, number(credential)),
            Self::Reached(credential) => (21, number(credential)),
        }
    }

    /// One line of text, without its end, piece by piece.
    pub fn write(&self, out: &mut impl FnMut(&str)) {
        let name = match self {
            Self::Device(Event::Entered(_)) => "device.state",
            Self::Device(Event::Refused(_)) => "device.refused",
            Self::Device(Event::GatewayRefused(_)) => "gateway.refused",
            Self::Device(Event::TrialCounted(_)) => "trial.counted",
            Self::Device(Event::TrialGivenBack) => "trial.given_back",
            Self::Device(Event::RolledBack) => "trial.rolled_back",
            Self::Device(Event::BundleInForce(_)) => "bundle.in_force",
            Self::Device(Event::BundleRefused(_)) => "bundle.refused",
            Self::Device(Event::FloorRaised(_)) => "clock.floor_raised",
            Self::Device(Event::KeyStoreFailed) => "device.key_store_failed",
            Self::Device(Event::StoreFailed) => "device.record_store_failed",
            Self::Device(_) => "device.other",
            Self::Dialling(_) => "session.dialling",
            Self::Reached(_) => "session.reached",
            Self::Secured(_) => "session.secured",
            Self::Opened(_) => "session.opened",
            Self::Closed(_) => "session.closed",
            Self::PublicationRefused(_) => "publication.refused",
            Self::TrustUnusable(_) => "trust.stored_unusable",
            Self::BundleNotFetched => "bundle.fetch_failed",
            Self::Restart => "agent.restart",
        };
        out(name);
        let mut word = |word| {
            out(" ");
            out(word);
        };
        match *self {
            Self::Device(Event::Entered(state)) => word(state.name()),
            Self::Device(Event::Refused(code) | Event::GatewayRefused(code) | Event::BundleRefused(code))
            | Self::PublicationRefused(code)
            | Self::TrustUnusable(code) => word(code.name()),
            Self::Dialling(credential)
            | Self::Reached(credential)
            | Self::Secured(credential)
            | Self::Opened(credential) => word(match credential {
                Credential::Idevid => "idevid",
                Credential::Slot(slot) => slot.name(),
            }),
            Self::Closed(failure) => word(failed(failure).map_or("unreachable", Code::name)),
            Self::Device(Event::BundleInForce(_) | Event::TrialCounted(_) | Event::FloorRaised(_)) => {
                let mut digits = [0; DIGITS_MAX];
                word(decimal(u64::from(self.code().1), &mut digits));
            }
            _ => {}
        }
    }
}

/// A number in decimal digits, at the end of `digits`.
pub(crate) fn decimal(number: u64, digits: &mut [u8; DIGITS_MAX]) -> &str {
    let mut rest = number;
    let mut start = DIGITS_MAX;
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        start = index;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    core::str::from_utf8(digits.get(start..).unwrap_or_default()).unwrap_or_default()
}

const fn number(credential: Credential) -> u32 {
    match credential {
        Credential::Idevid => 0,
        Credential::Slot(SlotId::A) => 1,
        Credential::Slot(SlotId::B) => 2,
    }
}

const fn failed(failure: Failure) -> Option<Code> {
    match failure {
        Failure::Unreachable => None,
        Failure::Refused(code) | Failure::GatewayUntrusted(code) => Some(code),
    }
}

/// Of the largest number.
pub(crate) const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use muster_protocol::UnixTime;
    use muster_protocol::device::StateName;

    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for (number, text) in [(0, "0"), (9, "9"), (10, "10"), (4_294_967_295, "4294967295")] {
            assert_eq!(decimal(number, &mut [0; DIGITS_MAX]), text);
        }
        assert_eq!(decimal(u64::MAX, &mut [0; DIGITS_MAX]), "18446744073709551615");
    }

    #[test]
    fn a_line_says_what_and_why() {
        for (told, line) in [
            (Told::Device(Event::Entered(StateName::Operational)), "device.state operational"),
            (Told::Device(Event::Refused(Code::DeviceSuspended)), "device.refused device.suspended"),
            (Told::Closed(Failure::Unreachable), "session.closed unreachable"),
            (Told::Opened(Credential::Slot(SlotId::B)), "session.opened b"),
            (Told::Device(Event::FloorRaised(UnixTime(1_793_491_200))), "clock.floor_raised 1793491200"),
            (Told::Restart, "agent.restart"),
        ] {
            let mut text = heapless::String::<64>::new();
            told.write(&mut |piece| text.push_str(piece).unwrap_or_default());
            assert_eq!(text, line);
        }
    }
}
