//! Some of the kinds of events, as somebody names them who looks for records.
//!
//! Text is a list with commas. Each word is the name of a kind (`handshake.refused`) or what stands before its dot and
//! means all of them (`handshake`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AuditKind;

/// Kinds of events; none named: all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kinds(Vec<AuditKind>);

/// There is no kind of this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no kind {0:?}; the kinds are {names}", names = AuditKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownKind(String);

impl Kinds {
    /// Every kind but these.
    #[must_use]
    pub fn all_but(left_out: &[AuditKind]) -> Self {
        Self(AuditKind::ALL.iter().copied().filter(|kind| !left_out.contains(kind)).collect())
    }

    /// These as well.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        more.0.iter().for_each(|kind| self.add(*kind));
        self
    }

    /// Each named kind once; empty when all are meant.
    #[must_use]
    pub fn named(&self) -> &[AuditKind] {
        &self.0
    }

    fn add(&mut self, kind: AuditKind) {
        if !self.0.contains(&kind) {
            self.0.push(kind);
        }
    }
}

impl From<AuditKind> for Kinds {
    fn from(kind: AuditKind) -> Self {
        Self(vec![kind])
    }
}

impl FromStr for Kinds {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let mut kinds = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let is_meant = |kind: &&AuditKind| {
                let name = kind.name();
                name == word || name.split_once('.').is_some_and(|(family, _)| family == word)
            };
            let meant: Vec<_> = AuditKind::ALL.iter().filter(is_meant).collect();
            if meant.is_empty() {
                return Err(UnknownKind(word.chars().take(64).collect()));
            }
            meant.into_iter().for_each(|kind| kinds.add(*kind));
        }
        Ok(kinds)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl Serialize for Kinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words_are_kinds_or_families_and_read_back() {
        let kinds: Kinds = "handshake, device.revoked,handshake.refused,".parse().unwrap();
        let named = [AuditKind::HandshakeAccepted, AuditKind::HandshakeRefused, AuditKind::DeviceRevoked];
        assert_eq!(kinds.named(), named);
        assert_eq!(kinds.to_string().parse(), Ok(kinds.clone()));
        assert_eq!(serde_json::from_str::<Kinds>(&serde_json::to_string(&kinds).unwrap()).unwrap(), kinds);
        assert_eq!("".parse::<Kinds>().unwrap().named(), []);
        let others = Kinds::all_but(&[AuditKind::HandshakeAccepted]);
        assert_eq!(others.named().len(), AuditKind::ALL.len() - 1);
        assert_eq!(others.and(&kinds).named().len(), AuditKind::ALL.len());
    }

    #[test]
    fn what_is_no_kind_is_named() {
        for text in ["handshakes", "handshake.", "Handshake", "device,nonsense", "*", "handshake.accepted.x"] {
            assert!(text.parse::<Kinds>().is_err(), "{text}");
        }
        let error = "nonsense".parse::<Kinds>().unwrap_err().to_string();
        assert!(error.contains("nonsense") && error.contains("handshake.accepted"), "{error}");
    }
}
