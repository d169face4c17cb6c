//! What each kind of certificate looks like: the one place of lifetimes, usages and path lengths.
//!
//! | profile | issued by | life | key usage | extended | path length |
//! |---|---|---|---|---|---|
//! | factory root | itself | no end | certificates, CRLs | - | any |
//! | factory issuing CA | factory root | no end | certificates, CRLs, signatures (manifests) | - | 0 |
//! | IDevID | factory issuing CA | no end | signatures | - | - |
//! | device CA | itself | 10 years | certificates, CRLs | - | 0 |
//! | LDevID | device CA | 7 days | signatures | clientAuth | - |
//! | gateway CA | itself | 10 years | certificates, CRLs | - | 0 |
//! | gateway server | gateway CA | 90 days | signatures | serverAuth | - |
//! | operator CA | itself | 10 years | certificates, CRLs | - | 0 |
//! | service, operator | operator CA | 90 days | signatures | clientAuth | - |
//!
//! After draft-ietf-uta-tls13-iot-profile, section 17, RFC 5280 and IEEE 802.1AR-2018. The factory's CAs have no end
//! because their IDevIDs have none: a chain ends with its first certificate.

use super::extension::KeyUsage;
use super::oid;
use crate::device_id::Identity;
use crate::time::UnixTime;

/// A kind of certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Profile {
    /// The factory's offline root.
    FactoryRoot,
    /// The CA of one line or lot, under the factory root.
    FactoryIssuing,
    /// A device's identity for life (IEEE 802.1AR).
    Idevid,
    /// The gateway's CA for devices.
    DeviceCa,
    /// A device's operational identity, short-lived.
    Ldevid,
    /// The CA that devices trust for the gateway, and for nothing else.
    GatewayCa,
    /// The gateway's own server certificate.
    GatewayServer,
    /// The CA for services and operators.
    OperatorCa,
    /// A back-end service.
    Service,
    /// A person who operates the fleet.
    Operator,
}

/// How long a certificate is valid unless somebody says otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// So many seconds.
    Secs(u64),
    /// "No well-defined expiration", 99991231235959Z (RFC 5280, section 4.1.2.5).
    Forever,
}

impl Life {
    /// The end of a life that starts at `start`.
    #[must_use]
    pub const fn end(self, start: UnixTime) -> UnixTime {
        match self {
            Self::Secs(seconds) => start.plus_secs(seconds),
            Self::Forever => UnixTime::FOREVER,
        }
    }
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 10] = [
        Self::FactoryRoot,
        Self::FactoryIssuing,
        Self::Idevid,
        Self::DeviceCa,
        Self::Ldevid,
        Self::GatewayCa,
        Self::GatewayServer,
        Self::OperatorCa,
        Self::Service,
        Self::Operator,
    ];

    /// A stable name for texts and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FactoryRoot => "factory-root",
            Self::FactoryIssuing => "factory-issuing",
            Self::Idevid => "idevid",
            Self::DeviceCa => "device-ca",
            Self::Ldevid => "ldevid",
            Self::GatewayCa => "gateway-ca",
            Self::GatewayServer => "gateway-server",
            Self::OperatorCa => "operator-ca",
            Self::Service => "service",
            Self::Operator => "operator",
        }
    }

    /// The profile of the CA that issues this one; itself when self-signed.
    #[must_use]
    pub const fn issuer(self) -> Self {
        match self {
            Self::FactoryRoot | Self::FactoryIssuing => Self::FactoryRoot,
            Self::Idevid => Self::FactoryIssuing,
            Self::DeviceCa | Self::Ldevid => Self::DeviceCa,
            Self::GatewayCa | Self::GatewayServer => Self::GatewayCa,
            Self::OperatorCa | Self::Service | Self::Operator => Self::OperatorCa,
        }
    }

    /// Whether it is signed by its own key.
    #[must_use]
    pub const fn is_self_signed(self) -> bool {
        matches!(self, Self::FactoryRoot | Self::DeviceCa | Self::GatewayCa | Self::OperatorCa)
    }

    /// Whether it may sign certificates.
    #[must_use]
    pub const fn is_ca(self) -> bool {
        self.is_self_signed() || matches!(self, Self::FactoryIssuing)
    }

    /// The pathLenConstraint of a CA.
    #[must_use]
    pub const fn path_len(self) -> Option<u8> {
        match self {
            Self::FactoryIssuing | Self::DeviceCa | Self::GatewayCa | Self::OperatorCa => Some(0),
            _ => None,
        }
    }

    /// The keyUsage bits, exactly.
    #[must_use]
    pub const fn key_usage(self) -> KeyUsage {
        let ca = KeyUsage::KEY_CERT_SIGN.and(KeyUsage::CRL_SIGN);
        match self {
            Self::FactoryIssuing => ca.and(KeyUsage::DIGITAL_SIGNATURE),
            Self::FactoryRoot | Self::DeviceCa | Self::GatewayCa | Self::OperatorCa => ca,
            Self::Idevid | Self::Ldevid | Self::GatewayServer | Self::Service | Self::Operator => {
                KeyUsage::DIGITAL_SIGNATURE
            }
        }
    }

    /// The one key purpose (OID content octets), if the profile has the extension.
    #[must_use]
    pub const fn extended_key_usage(self) -> Option<&'static [u8]> {
        match self {
            Self::Ldevid | Self::Service | Self::Operator => Some(oid::CLIENT_AUTH),
            Self::GatewayServer => Some(oid::SERVER_AUTH),
            _ => None,
        }
    }

    /// The default life.
    #[must_use]
    pub const fn life(self) -> Life {
        match self {
            Self::FactoryRoot | Self::FactoryIssuing | Self::Idevid => Life::Forever,
            Self::DeviceCa | Self::GatewayCa | Self::OperatorCa => Life::Secs(3652 * DAY_SECS),
            Self::Ldevid => Life::Secs(7 * DAY_SECS),
            Self::GatewayServer | Self::Service | Self::Operator => Life::Secs(90 * DAY_SECS),
        }
    }

    /// Whether `identity` is of the role that this profile is for.
    #[must_use]
    pub const fn is_for(self, identity: &Identity) -> bool {
        matches!(
            (self, identity),
            (Self::Idevid | Self::Ldevid, Identity::Device { .. })
                | (Self::Service, Identity::Service { .. })
                | (Self::Operator, Identity::Operator { .. })
        )
    }
}

/// How far notBefore lies before the time of issue: clocks are not all the same.
pub const BACKDATE_SECS: u64 = 300;
/// Longest life of an end entity's certificate other than the IDevID.
pub const END_ENTITY_LIFE_SECS_MAX: u64 = 398 * DAY_SECS;

const DAY_SECS: u64 = 86_400;
