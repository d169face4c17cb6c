//! The trust bundle: what a device trusts, numbered and signed by the fleet root.
//!
//! The body is postcard of [`TrustBundle`] in the container of [`crate::signed`]. A bundle counts only with a higher
//! number than the one in force and the signature of a pinned key; new pins count only when both pinned keys signed.
//!
//! A fleet file (`fleet.muster`) is what the factory writes beside an IDevID: the pins that the bundle was verified with
//! (two SHA-256 fingerprints, 32 bytes each, root first) and then the signed bundle.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::device_id::FleetId;
use crate::limits::{GATEWAY_CAS_MAX, GATEWAYS_MAX, HOST_BYTES_MAX, TRUST_BUNDLE_BYTES_MAX};
use crate::pki::key::KeyFingerprint;
use crate::signed::{Kind, SignedDocument, SignedError, body_of};

/// Format version of the body.
pub const VERSION: u8 = 1;

/// Bytes of the two pins in front of a fleet file.
pub const PINS_BYTES: usize = 64;

/// Fingerprints of the two keys that may sign trust bundles. They are for life, unless both sign their replacement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pins {
    /// The fleet root.
    pub root: KeyFingerprint,
    /// The backup key, kept apart from the root.
    pub backup: KeyFingerprint,
}

/// Where a gateway is reached.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GatewayAddress {
    /// DNS name or IP address; also the name that its certificate must carry.
    pub host: heapless::String<HOST_BYTES_MAX>,
    /// MQTT over mutual TLS.
    pub mqtt_port: u16,
    /// HTTPS, where the newest bundle lies open.
    pub https_port: u16,
}

/// Bounds that the fleet sets for its devices.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// Longest wait between two attempts to reach the gateway, in seconds.
    pub backoff_secs_max: u32,
    /// Share of a certificate's life after which it is renewed, in percent.
    pub renew_at_percent: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { backoff_secs_max: 300, renew_at_percent: 66 }
    }
}

/// What a device trusts. Borrowed from the signed bytes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrustBundle<'a> {
    /// The fleet that this bundle is for.
    pub fleet: FleetId,
    /// Rises with every bundle; a bundle with a lower or equal number is ignored.
    pub number: u32,
    /// Certificates of the gateway CAs, DER.
    #[serde(borrow)]
    pub gateway_cas: heapless::Vec<&'a [u8], GATEWAY_CAS_MAX>,
    /// Addresses, in the order in which they are tried.
    pub gateways: heapless::Vec<GatewayAddress, GATEWAYS_MAX>,
    /// Bounds for the devices.
    pub policy: Policy,
    /// New pins, when both pinned keys sign this bundle.
    pub next_pins: Option<Pins>,
}

/// A bundle whose signature by a pinned key was checked.
#[derive(Clone, Debug)]
pub struct VerifiedBundle<'a> {
    bundle: TrustBundle<'a>,
    pins: Pins,
}

impl<'a> VerifiedBundle<'a> {
    /// Checks the signatures of `bytes` against `pins`. Whether the number is new is asked by [`VerifiedBundle::supersedes`].
    pub fn verify(bytes: &'a [u8], pins: &Pins) -> Result<Self, Code> {
        if bytes.len() > TRUST_BUNDLE_BYTES_MAX {
            return Err(Code::MessageOversized);
        }
        let signers = Signers::check(bytes, pins)?;
        Self::read(bytes, pins, signers)
    }

    /// In a frame of its own, which is large, and not below the curve's.
    #[inline(never)]
    fn read(bytes: &'a [u8], pins: &Pins, signers: Signers) -> Result<Self, Code> {
        let Signers { root, backup } = signers;
        let body = body_of(bytes, Kind::TrustBundle, VERSION).map_err(|_| Code::BundleMalformed)?;
        let (bundle, rest) = postcard::take_from_bytes::<TrustBundle<'_>>(body).map_err(|_| Code::BundleMalformed)?;
        let policy = bundle.policy;
        if !rest.is_empty()
            || bundle.gateway_cas.is_empty()
            || bundle.gateways.is_empty()
            || !(10..=95).contains(&policy.renew_at_percent)
            || policy.backoff_secs_max == 0
        {
            return Err(Code::BundleMalformed);
        }
        let pins = match bundle.next_pins {
            Some(next) if root && backup && pins.root != pins.backup => next,
            Some(_) => return Err(Code::BundleBadSignature),
            None => *pins,
        };
        Ok(Self { bundle, pins })
    }

    /// Whether this bundle may replace one of `fleet` numbered `in_force`.
    pub fn supersedes(&self, fleet: &FleetId, in_force: u32) -> Result<(), Code> {
        if self.bundle.fleet != *fleet {
            return Err(Code::BundleWrongFleet);
        }
        if self.bundle.number <= in_force {
            return Err(Code::BundleStale);
        }
        Ok(())
    }

    /// The bundle.
    #[must_use]
    pub const fn bundle(&self) -> &TrustBundle<'a> {
        &self.bundle
    }

    /// The pins in force once this bundle is.
    #[must_use]
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }
}

/// Which of the pinned keys signed; at least one did.
#[derive(Clone, Copy)]
struct Signers {
    root: bool,
    backup: bool,
}

impl Signers {
    #[inline(never)]
    fn check(bytes: &[u8], pins: &Pins) -> Result<Self, Code> {
        let document = SignedDocument::parse(bytes, Kind::TrustBundle, VERSION).map_err(|error| match error {
            SignedError::Version => Code::MessageVersion,
            SignedError::BadSignature => Code::BundleBadSignature,
            SignedError::Malformed => Code::BundleMalformed,
        })?;
        let signed_by = |pin: &KeyFingerprint| document.signers().iter().any(|key| key.fingerprint() == *pin);
        let (root, backup) = (signed_by(&pins.root), signed_by(&pins.backup));
        if root || backup { Ok(Self { root, backup }) } else { Err(Code::BundleBadSignature) }
    }
}

/// Takes a fleet file apart: the signed bundle, checked against the pins in front of it. The pins in force are
/// [`VerifiedBundle::pins`]; they differ from those in front when the bundle brings new ones.
pub fn read_fleet_file(bytes: &[u8]) -> Result<VerifiedBundle<'_>, Code> {
    let (pins, bundle) = bytes.split_first_chunk::<PINS_BYTES>().ok_or(Code::BundleMalformed)?;
    let (root, backup) = pins.split_at(32);
    let fingerprint = |half: &[u8]| half.try_into().map(KeyFingerprint).map_err(|_| Code::BundleMalformed);
    VerifiedBundle::verify(bundle, &Pins { root: fingerprint(root)?, backup: fingerprint(backup)? })
}

/// Reads the bundle of a fleet file that was verified before and has been in the device's own store since then: its
/// signatures are not checked again. Whoever has not verified these very bytes takes [`read_fleet_file`].
pub fn reread_fleet_file(bytes: &[u8]) -> Result<TrustBundle<'_>, Code> {
    let (_, bundle) = bytes.split_first_chunk::<PINS_BYTES>().ok_or(Code::BundleMalformed)?;
    let body = body_of(bundle, Kind::TrustBundle, VERSION).map_err(|_| Code::BundleMalformed)?;
    postcard::from_bytes(body).map_err(|_| Code::BundleMalformed)
}
