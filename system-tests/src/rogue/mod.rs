//! Hostile servers: a TLS 1.3 server that does whatever it is told, and the list of what it is told.
//!
//! For the firmware agent's guard, on the host and on the emulated board. It stands in the middle (has no key that the
//! device trusts) unless an attack says otherwise.
//!
//! | module | what |
//! |---|---|
//! | [`tls`] | the server |
//! | [`attack`] | the attacks, and how the guard has to end each |

pub mod attack;
pub mod tls;

pub use attack::{Attack, LateAttack, Material, attacks, late_attacks, shake_hands};
pub use tls::Tls;
