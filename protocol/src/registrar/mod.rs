//! The gateway's counterpart of the device: one state machine per device.

pub mod record;

pub use record::{Credential, DeviceRecord, Reason, Standing};
