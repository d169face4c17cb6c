//! What a hostile server does, one attack per row, and how the guard has to end it.
//!
//! | module | attacks |
//! |---|---|
//! | `hello` | up to the ServerHello, and on records that are not encrypted |
//! | `flight` | in the encrypted flight |
//! | `late` | after the handshake, by whoever has the gateway's key |

use std::io::{self, Read, Write};

use muster_agent_nostd::tls::{Breach, GuardError};

use super::tls::{ECDSA_P256, Established, HANDSHAKE, Hello, SERVER_CONTEXT, Tls};
use crate::test_pki::TestKey;

mod flight;
mod hello;
mod late;

pub use late::late_attacks;

/// What a hostile server has: a good chain with its key, as far as the attack needs them.
#[derive(Clone)]
pub struct Material {
    /// A chain that the device accepts.
    pub chain: Vec<Vec<u8>>,
    /// The key of its leaf.
    pub key: TestKey,
}

/// One attack, against anything that reads and writes.
pub struct Attack<T> {
    /// Its name.
    pub name: &'static str,
    /// Does it. After the last step the server goes on reading, and says nothing more.
    pub run: fn(&mut Tls<T>, &Material) -> io::Result<()>,
    /// How the guard has to end the handshake.
    pub ends: GuardError,
}

impl<T> Attack<T> {
    /// Bytes that the device sends behind its ClientHello. None of them is of its key, or of an application.
    #[must_use]
    pub fn answered_bytes(&self) -> usize {
        match self.ends {
            // Only a server without a request gets as far as our Finished, which holds nothing of ours.
            GuardError::Breach(Breach::NotMutual) => 5 + 4 + 32 + 1 + 16,
            // An alert of the library.
            _ if self.name == "an extension out of its place" => 7,
            _ => 0,
        }
    }
}

/// An attack by whoever has the gateway's key, after a good handshake.
pub struct LateAttack<T> {
    /// Its name.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut Tls<T>) -> io::Result<()>,
    /// What the device's reads give until the end: the bytes read, and the end; `None` for a goodbye.
    pub ends: (&'static [u8], Option<GuardError>),
}

const fn breach(breach: Breach) -> GuardError {
    GuardError::Breach(breach)
}

/// Every attack of a server before or in its flight.
#[must_use]
pub fn attacks<T: Read + Write>() -> Vec<Attack<T>> {
    let mut all = hello::attacks();
    all.extend(flight::attacks());
    all
}

fn attack<T>(name: &'static str, ends: GuardError, run: fn(&mut Tls<T>, &Material) -> io::Result<()>) -> Attack<T> {
    Attack { name, run, ends }
}

/// A good ServerHello.
///
/// # Errors
/// Of the socket.
pub fn greet<T: Read + Write>(tls: &mut Tls<T>) -> io::Result<()> {
    say(tls, &Hello::default())
}

/// A good handshake with `material`, up to the server's Finished, each message in a record of its own if it would not
/// fit one together.
///
/// # Errors
/// Of the socket.
pub fn shake_hands<T: Read + Write>(tls: &mut Tls<T>, material: &Material) -> io::Result<Established> {
    greet(tls)?;
    let messages = flight(tls, material);
    if messages.concat().len() <= ONE_RECORD_BYTES_MAX {
        tls.sealed(HANDSHAKE, &messages.concat())?;
    } else {
        messages.iter().try_for_each(|message| tls.sealed(HANDSHAKE, message))?;
    }
    Ok(tls.established())
}

fn say<T: Read + Write>(tls: &mut Tls<T>, hello: &Hello) -> io::Result<()> {
    let message = tls.hello(hello);
    tls.plain(HANDSHAKE, &message)
}

fn flight<T: Read + Write>(tls: &mut Tls<T>, material: &Material) -> Vec<Vec<u8>> {
    vec![
        tls.extensions(&[]),
        tls.request(&[]),
        tls.certificate(&material.chain),
        tls.proof(&material.key, SERVER_CONTEXT, ECDSA_P256),
        tls.finished(),
    ]
}

const ONE_RECORD_BYTES_MAX: usize = 2_200;
