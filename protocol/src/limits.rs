//! Every bound of every format in one place. A bound here is a promise to firmware, which sizes its buffers by it.

/// Longest device id in bytes; the X.520 serialNumber attribute holds 64 (RFC 5280, appendix A.1).
pub const DEVICE_ID_BYTES_MAX: usize = 64;
/// Longest fleet id in bytes.
pub const FLEET_ID_BYTES_MAX: usize = 32;
/// Longest SAN URI: `urn:muster:` + fleet + `:operator:` + name.
pub const SAN_BYTES_MAX: usize = 11 + FLEET_ID_BYTES_MAX + 10 + DEVICE_ID_BYTES_MAX;
/// Longest certificate serial number, content octets (RFC 5280, section 4.1.2.2).
pub const SERIAL_BYTES_MAX: usize = 20;
/// Longest certificate that the core stores or sends, DER.
pub const CERTIFICATE_BYTES_MAX: usize = 1024;
/// Longest CSR, DER. Ours are about 300 bytes plus the names.
pub const CSR_BYTES_MAX: usize = 640;
/// Longest chain that is looked at, leaf included.
pub const CHAIN_CERTIFICATES_MAX: usize = 4;
/// Longest encoded control message, envelope included: a trust bundle.
pub const MESSAGE_BYTES_MAX: usize = TRUST_BUNDLE_BYTES_MAX + 24;
/// Longest encoded slot record.
pub const SLOT_RECORD_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX + 192;
/// Longest gateway host name or address in a trust bundle.
pub const HOST_BYTES_MAX: usize = 128;
/// Gateway CAs in a trust bundle: the old one and the new one during a rollover, and room for one accident.
pub const GATEWAY_CAS_MAX: usize = 3;
/// Gateway addresses in a trust bundle.
pub const GATEWAYS_MAX: usize = 4;
/// Longest encoded and signed trust bundle: it travels inside one control message, and firmware has room for three of
/// them. Enough, beside two signatures and new pins, for three gateway CAs of 450 bytes and four gateways with names of 70, or
/// for two CAs of 600 bytes and four names of 100.
pub const TRUST_BUNDLE_BYTES_MAX: usize = 2048;
/// Signatures on one signed document.
pub const SIGNATURES_MAX: usize = 2;
/// Longest text that a device may send about itself (version, board).
pub const LABEL_BYTES_MAX: usize = 32;
/// Longest name of a command to a device.
pub const COMMAND_NAME_BYTES_MAX: usize = 32;
/// Longest argument of a command.
pub const ARGUMENT_BYTES_MAX: usize = 512;
/// Longest result of a command.
pub const RESULT_BYTES_MAX: usize = 128;
/// Longest encoded answer to a command: version, number, outcome, length, result.
pub const ANSWER_BYTES_MAX: usize = 1 + 5 + 1 + 2 + RESULT_BYTES_MAX;
/// Longest encoded report: version, three numbers of 64 bits, a percentage.
pub const TELEMETRY_BYTES_MAX: usize = 1 + 3 * 10 + 1;
/// Longest product or lot name in a shipment manifest.
pub const PRODUCT_BYTES_MAX: usize = 64;
/// Devices in one shipment manifest.
pub const MANIFEST_DEVICES_MAX: u32 = 1_000_000;
/// How many times a candidate is tried before the device rolls back.
pub const TRIALS_MAX: u8 = 3;
/// Longest fleet file: two pins and a signed trust bundle.
pub const FLEET_FILE_BYTES_MAX: usize = 64 + TRUST_BUNDLE_BYTES_MAX;
/// Longest part of a certificate or a fleet file in one factory message.
pub const FACTORY_CHUNK_BYTES_MAX: usize = 512;
/// Longest encoded factory message, envelope included: a CSR is the longest content.
pub const FACTORY_MESSAGE_BYTES_MAX: usize = CSR_BYTES_MAX + 64;
/// Longest frame on a serial line: message, check (4), one octet for every 254, two delimiters.
pub const FACTORY_FRAME_BYTES_MAX: usize =
    FACTORY_MESSAGE_BYTES_MAX + 4 + (FACTORY_MESSAGE_BYTES_MAX + 4) / 254 + 1 + 2;
