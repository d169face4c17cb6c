//! Why a command did not do what it was asked, for a person and for a script.
//!
//! The code is a stable dotted name (`store.locked`); refusals of certificates use the names of the protocol's codes.
//! A message never holds a secret, and control characters in it are escaped, since parts of it may come from a device.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::printable;

/// An error that ends a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The exit code it leads to.
    pub exit: Exit,
    /// Stable dotted name.
    pub code: String,
    /// What happened, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { exit, code: code.into(), message: message.into(), hint: None }
    }

    /// Tried and failed (exit 1).
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, code, message)
    }

    /// The command line is wrong (exit 2).
    pub fn usage(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, code, message)
    }

    /// Refused by a rule (exit 3).
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::new(Exit::Refused, code, message)
    }

    /// The thing named does not exist (exit 4).
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::new(Exit::NotFound, code, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Exit 1 with the whole chain of an error: `what: error: its source: …`, nothing said twice.
    pub fn from_error(code: impl Into<String>, what: &str, error: &(dyn Error + 'static)) -> Failure {
        let mut message = what.to_owned();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message = if message.is_empty() { text } else { format!("{message}: {text}") };
            }
            next = error.source();
        }
        Failure::failed(code, message)
    }

    /// The object printed with `--json`.
    pub fn to_json(&self) -> Value {
        json!({ "v": 1, "code": self.code, "message": self.message, "hint": self.hint })
    }
}

/// The prose: `message`, then a `hint` line when there is one. The word `error` in front is the output's.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", printable(hint)),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

/// Turns any error into a [`Failure`] where it is met.
pub trait OrFail<T> {
    /// On error: exit 1, `code`, and `what: the error and its sources`. A [`Failure`] inside stays what it is.
    fn or_fail(self, code: &str, what: &str) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: &str, what: &str) -> Result<T, Failure> {
        self.map_err(|error| match error.into().downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => Failure::from_error(code, what, &*error),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the slot")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn keeps_the_chain_and_says_nothing_twice() {
        let outer: Result<(), Outer> = Err(Outer(std::io::Error::other("disk on fire")));
        let failure = outer.or_fail("slot.read", "cannot boot").unwrap_err();
        assert_eq!(failure.message, "cannot boot: cannot read the slot: disk on fire");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Failed, "slot.read"));

        let echoed = Failure::from_error("x", "disk on fire", &std::io::Error::other("disk on fire"));
        assert_eq!(echoed.message, "disk on fire");
    }

    #[test]
    fn a_failure_passes_through_unchanged() {
        let refused = Failure::refused("device.retired", "the device is retired").hint("make a new one");
        let passed: Result<(), _> = Err(refused.clone()).or_fail("other", "other");
        assert_eq!(passed.unwrap_err(), refused);
    }

    #[test]
    fn prose_and_json_say_the_same() {
        let failure = Failure::not_found("device.unknown", "no device \u{1b}[2Jx").hint("see device list");
        assert_eq!(failure.to_string(), "no device \\u{1b}[2Jx\n  hint: see device list");
        assert_eq!(failure.to_json()["code"], "device.unknown");
        assert_eq!(failure.to_json()["v"], 1);
        assert_eq!(Failure::failed("a.b", "c").to_json()["hint"], Value::Null);
    }
}
