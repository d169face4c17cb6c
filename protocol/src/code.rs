//! Refusal codes: one per cause, stable, the same on the device, in the audit stream, in the API and in the console.
//!
//! The number travels in control messages, the name stands in texts and logs. Neither is ever given a new meaning; a
//! cause that goes away leaves its number unused.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the refused party should do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Try again later; nothing is wrong with the party itself.
    Retry,
    /// This credential will not do: fall back to the IDevID and enrol.
    Enrol,
    /// Slow down to hours: only an operator can change the answer.
    AskOperator,
    /// The same request will never be accepted; do not repeat it.
    Never,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $disposition:ident;)+) => {
        /// A stable refusal code.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their names, in the same order.
            const NAMES: &'static [&'static str] = &[$($name),+];

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What the refused party should do.
            #[must_use]
            pub const fn disposition(self) -> Disposition {
                match self { $(Self::$variant => Disposition::$disposition,)+ }
            }

        }
    };
}

codes! {
    /// The message is not a well-formed control message.
    MessageMalformed = 0x0101, "message.malformed", Never;
    /// The message is longer than the format allows.
    MessageOversized = 0x0102, "message.oversized", Never;
    /// The message has a format version that this end does not speak.
    MessageVersion = 0x0103, "message.version", Never;
    /// The message does not belong to this channel or this moment.
    MessageUnexpected = 0x0104, "message.unexpected", Never;

    /// No client certificate was presented.
    CertificateMissing = 0x0201, "certificate.missing", Never;
    /// A certificate is not well-formed X.509 version 3 in DER.
    CertificateMalformed = 0x0202, "certificate.malformed", Never;
    /// The certificate chain does not end at a trust anchor of this fleet.
    CertificateUntrusted = 0x0203, "certificate.untrusted", Enrol;
    /// The certificate is signed by its own key.
    CertificateSelfSigned = 0x0204, "certificate.self_signed", Never;
    /// The certificate has expired.
    CertificateExpired = 0x0205, "certificate.expired", Enrol;
    /// The certificate is not valid yet.
    CertificateNotYetValid = 0x0206, "certificate.not_yet_valid", Retry;
    /// The certificate is not meant for this use (extended key usage, key usage or CA flag).
    CertificateWrongUsage = 0x0207, "certificate.wrong_usage", Never;
    /// A signature in the certificate chain is wrong.
    CertificateBadSignature = 0x0208, "certificate.bad_signature", Never;
    /// The certificate carries no identity of this system in its one SAN.
    CertificateNoIdentity = 0x0209, "certificate.no_identity", Never;
    /// The certificate belongs to another fleet.
    CertificateWrongFleet = 0x020A, "certificate.wrong_fleet", Never;
    /// The certificate breaks its profile (algorithm, critical extension, path length, serial, name constraint).
    CertificateProfile = 0x020B, "certificate.profile", Never;
    /// The certificate was revoked.
    CertificateRevoked = 0x020C, "certificate.revoked", Enrol;
    /// The certificate was replaced by a newer one.
    CertificateSuperseded = 0x020D, "certificate.superseded", Enrol;
    /// The certificate is not in the registry.
    CertificateUnknown = 0x020E, "certificate.unknown", Enrol;
    /// The certificate is not valid for the name that was asked for.
    CertificateWrongName = 0x020F, "certificate.wrong_name", Never;

    /// The CSR is not a well-formed PKCS#10 request.
    CsrMalformed = 0x0301, "csr.malformed", Never;
    /// The CSR is not signed by the key it carries.
    CsrBadSignature = 0x0302, "csr.bad_signature", Never;
    /// The CSR asks for a key that is not P-256.
    CsrWrongKeyType = 0x0303, "csr.wrong_key_type", Never;
    /// The CSR asks for another name than the one that was authenticated.
    CsrWrongName = 0x0304, "csr.wrong_name", Never;
    /// The CSR asks to become a certification authority.
    CsrAsksCa = 0x0305, "csr.asks_ca", Never;
    /// The CSR is longer than the format allows.
    CsrOversized = 0x0306, "csr.oversized", Never;

    /// The key was certified before and is spent: an enrolment was replayed, or two devices share a key.
    EnrolKeyReused = 0x0401, "enrol.key_reused", Never;
    /// Enrolment needs a session under the IDevID.
    EnrolIdevidRequired = 0x0402, "enrol.idevid_required", Enrol;
    /// The confirmation names a certificate that this session does not hold.
    EnrolWrongConfirmation = 0x0403, "enrol.wrong_confirmation", Never;

    /// The registry has no such device.
    DeviceUnknown = 0x0501, "device.unknown", AskOperator;
    /// The device is suspended; an operator can resume it.
    DeviceSuspended = 0x0502, "device.suspended", AskOperator;
    /// The device's certificates were revoked; an operator must let it enrol anew.
    DeviceRevoked = 0x0503, "device.revoked", AskOperator;
    /// The device is retired for good.
    DeviceRetired = 0x0504, "device.retired", AskOperator;
    /// The IDevID is not the one that the manifest names for this device.
    DeviceWrongIdevid = 0x0505, "device.wrong_idevid", AskOperator;

    /// The MQTT client id is not the identity of the certificate.
    SessionClientId = 0x0601, "session.client_id", Never;
    /// The identity has no right to this topic.
    SessionTopicDenied = 0x0602, "session.topic_denied", Never;
    /// Another connection took the session over.
    SessionTakenOver = 0x0603, "session.taken_over", Retry;
    /// The peer broke the MQTT protocol.
    SessionProtocol = 0x0604, "session.protocol", Never;
    /// The peer was too slow or silent for too long.
    SessionTimeout = 0x0605, "session.timeout", Retry;
    /// The gateway has no room for another connection now.
    SessionBusy = 0x0606, "session.busy", Retry;
    /// The gateway is shutting down.
    SessionDraining = 0x0607, "session.draining", Retry;
    /// The session asks for a feature that this gateway does not offer.
    SessionUnsupported = 0x0608, "session.unsupported", Never;
    /// The TLS handshake failed before a certificate could be judged.
    SessionHandshake = 0x0609, "session.handshake", Retry;
    /// What the identity may do was changed; a new session has the new rights.
    SessionRightsChanged = 0x060A, "session.rights_changed", Retry;
    /// The session reached the longest life that this gateway allows; a new one may begin at once.
    SessionAge = 0x060B, "session.age", Retry;

    /// The manifest is not well-formed.
    ManifestMalformed = 0x0701, "manifest.malformed", Never;
    /// The manifest's signature is wrong: it was changed after it was signed.
    ManifestBadSignature = 0x0702, "manifest.bad_signature", Never;
    /// The manifest is signed by a factory that is not registered here.
    ManifestUntrusted = 0x0703, "manifest.untrusted", AskOperator;
    /// The manifest names a device that is registered with another key.
    ManifestConflict = 0x0704, "manifest.conflict", AskOperator;
    /// The manifest is for another fleet.
    ManifestWrongFleet = 0x0705, "manifest.wrong_fleet", Never;

    /// The trust bundle is not well-formed.
    BundleMalformed = 0x0801, "bundle.malformed", Never;
    /// The trust bundle is not signed by a pinned key.
    BundleBadSignature = 0x0802, "bundle.bad_signature", Never;
    /// The trust bundle is not newer than the one in force.
    BundleStale = 0x0803, "bundle.stale", Never;
    /// The trust bundle is for another fleet.
    BundleWrongFleet = 0x0804, "bundle.wrong_fleet", Never;

    /// The gateway cannot reach its store or its issuer now; nothing was changed.
    Unavailable = 0x0901, "gateway.unavailable", Retry;
    /// The operator's role does not allow this.
    OperatorForbidden = 0x0902, "operator.forbidden", AskOperator;
    /// The act does not fit the state that the device is in.
    DeviceState = 0x0903, "device.state", Never;

    /// The board's identity is locked: nothing writes it again.
    FactoryLocked = 0x0A01, "factory.locked", Never;
    /// The board holds another identity than the one that was meant.
    FactoryWritten = 0x0A02, "factory.written", Never;
    /// What arrived at the board is not what was announced.
    FactoryIncomplete = 0x0A03, "factory.incomplete", Retry;
    /// The board could not store something, or read back something else.
    FactoryStorage = 0x0A04, "factory.storage", Retry;
    /// The board's firmware is for another product.
    FactoryWrongProduct = 0x0A05, "factory.wrong_product", Never;
    /// The serial number belongs to the key of another board.
    FactoryNumberTaken = 0x0A06, "factory.number_taken", Never;
    /// The board's key belongs to another serial number.
    FactoryKeyBound = 0x0A07, "factory.key_bound", Never;
    /// The board has an identity that this line's ledger does not know.
    FactoryForeign = 0x0A08, "factory.foreign", Never;
    /// The CSR is not made with the key that the board showed.
    FactoryKeyChanged = 0x0A09, "factory.key_changed", Never;
}

// By a walk through the tables, not by a match: on a device a branch for every code would cost more than the codes.
impl Code {
    /// The number that travels in messages.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The stable dotted name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut both = Self::ALL.iter().zip(Self::NAMES);
        both.find(|(code, _)| **code == self).map(|(_, name)| *name).unwrap_or_default()
    }

    /// The code of a number, if there is one.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The code of a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut both = Self::ALL.iter().zip(Self::NAMES);
        both.find(|(_, found)| **found == name).map(|(code, _)| *code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Code {}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u16(self.number())
        }
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let name = heapless::String::<40>::deserialize(deserializer)?;
            Self::from_name(&name).ok_or_else(|| D::Error::custom("unknown refusal code"))
        } else {
            let number = u16::deserialize(deserializer)?;
            Self::from_number(number).ok_or_else(|| D::Error::custom("unknown refusal code"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::from_number(code.number()), Some(*code));
            assert_eq!(Code::from_name(code.name()), Some(*code));
            assert!(!code.text().is_empty() && code.name().len() <= 40);
            assert!(Code::ALL[..index].iter().all(|other| other.number() < code.number()), "{code} is out of order");
        }
    }

    #[test]
    fn a_number_of_nobody_is_no_code() {
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_name("device"), None);
    }
}
