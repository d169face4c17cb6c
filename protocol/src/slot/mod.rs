//! The two credential slots: what is stored of a credential, and which slot rules after a power cut.
//!
//! [`record`] is the stored form, [`store`] the contract of whatever keeps it. The private key is not in the record:
//! it lies in a key store of the shell's, one key per slot, and a record counts only while that key fits its public
//! key.

pub mod record;
pub mod store;

pub use record::{Phase, SlotRecord};

/// One of the two slots.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SlotId {
    /// The first.
    A,
    /// The second.
    B,
}

impl SlotId {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// `a` or `b`, as in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}
