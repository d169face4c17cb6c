//! Topic names and topic filters: valid once made, matched level by level (MQTT 5, section 4.7; MQTT 3.1.1, section 4.7).
//!
//! Who may use a topic is decided in `rights`, who receives it in `tree`. A filter that begins with `$share/` is an
//! ordinary filter here; the session refuses it before it reaches anything else.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Why a text is no topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// A topic has at least one character.
    #[error("the topic is empty")]
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("the topic is longer than {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`TOPIC_LEVELS_MAX`] levels.
    #[error("the topic has more than {TOPIC_LEVELS_MAX} levels")]
    TooManyLevels,
    /// U+0000 stands in it.
    #[error("the topic holds U+0000")]
    Nul,
    /// A wildcard in a name, or a wildcard in a filter that does not fill its level, or `#` before the end.
    #[error("a wildcard stands where none may stand")]
    Wildcard,
}

/// A topic that a message can be published to: no wildcards.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a text and takes it as a name.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name is `prefix` or lies below it, by whole levels. A closing slash of the prefix is ignored.
    #[must_use]
    pub fn is_at_or_below(&self, prefix: &str) -> bool {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        self.0.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of topic names: `+` stands for one level, `#` at the end for any number of levels.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks a text and takes it as a filter.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            match level {
                "+" => {}
                "#" if levels.peek().is_none() => {}
                _ if level.contains(['+', '#']) => return Err(TopicError::Wildcard),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the filter asks for a shared subscription (MQTT 5, section 4.8.2).
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with("$share/") || &*self.0 == "$share"
    }

    /// Whether the filter has no wildcard, so that exactly one name matches it.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains(['+', '#'])
    }

    /// Whether a name matches. A wildcard in the first level never matches a name that begins with `$`.
    #[must_use]
    pub fn matches(&self, name: &TopicName) -> bool {
        if name.0.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut filter = self.0.split('/');
        let mut name = name.0.split('/');
        loop {
            match (filter.next(), name.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
    }

    /// Whether every name that `asked` matches is matched by this filter too.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        if asked.0.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        // No name is empty: what stands before the `#` of `#` and of `/#` is no name, so `+/#` is as wide there.
        let needs_level = matches!(&*asked.0, "#" | "/#");
        let mut granted = self.0.split('/');
        let mut asked = asked.0.split('/');
        loop {
            match (granted.next(), asked.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some("#")) => return needs_level && granted.next() == Some("#"),
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    let mut levels = 1;
    for byte in text.bytes() {
        match byte {
            0 => return Err(TopicError::Nul),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > TOPIC_LEVELS_MAX {
        return Err(TopicError::TooManyLevels);
    }
    Ok(())
}

/// Longest topic name or filter in bytes. MQTT itself allows 65,535.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Most levels of a topic name or filter.
pub const TOPIC_LEVELS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Straight from the standard's words, slow and recursive.
    fn oracle_matches(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            ([], []) | (["#"], _) => true,
            (["+", rest @ ..], [_, levels @ ..]) => oracle_matches(rest, levels),
            ([wanted, rest @ ..], [level, levels @ ..]) => wanted == level && oracle_matches(rest, levels),
            _ => false,
        }
    }

    fn oracle(filter: &str, name: &str) -> bool {
        if name.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let filter: Vec<&str> = filter.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        oracle_matches(&filter, &name)
    }

    fn texts(alphabet: &[&str], levels_max: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut longest: Vec<String> = alphabet.iter().map(ToString::to_string).collect();
        for _ in 0..levels_max {
            all.extend(longest.iter().cloned());
            longest =
                longest.iter().flat_map(|text| alphabet.iter().map(move |level| format!("{text}/{level}"))).collect();
        }
        all
    }

    fn names(levels_max: usize) -> Vec<TopicName> {
        texts(&["a", "b", "", "$x"], levels_max).iter().filter_map(|text| TopicName::new(text).ok()).collect()
    }

    fn filters(levels_max: usize) -> Vec<TopicFilter> {
        texts(&["a", "", "$x", "+", "#"], levels_max).iter().filter_map(|text| TopicFilter::new(text).ok()).collect()
    }

    #[test]
    fn matching_agrees_with_the_naive_oracle_on_every_small_topic() {
        let (filters, names) = (filters(4), names(5));
        assert!(filters.len() > 300 && names.len() > 1000);
        for filter in &filters {
            for name in &names {
                assert_eq!(filter.matches(name), oracle(filter.as_str(), name.as_str()), "{filter} on {name}");
            }
        }
    }

    #[test]
    fn covering_is_set_inclusion_on_every_small_pair() {
        let (filters, names) = (filters(3), names(4));
        let matched: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| names.iter().map(|name| oracle(filter.as_str(), name.as_str())).collect())
            .collect();
        for (granted, by_granted) in filters.iter().zip(&matched) {
            for (asked, by_asked) in filters.iter().zip(&matched) {
                let inside = by_asked.iter().zip(by_granted).all(|(asked, granted)| !asked || *granted);
                assert_eq!(granted.covers(asked), inside, "{granted} covers {asked}");
            }
        }
    }

    #[test]
    fn texts_that_are_no_topics_are_refused() {
        let long = "a".repeat(TOPIC_BYTES_MAX + 1);
        let deep = "/".repeat(TOPIC_LEVELS_MAX);
        for (text, why) in [
            ("", TopicError::Empty),
            ("a\0b", TopicError::Nul),
            (long.as_str(), TopicError::TooLong),
            (deep.as_str(), TopicError::TooManyLevels),
        ] {
            assert_eq!(TopicName::new(text), Err(why));
            assert_eq!(TopicFilter::new(text), Err(why));
        }
        for text in ["+", "#", "a/+", "a/b#", "a+"] {
            assert_eq!(TopicName::new(text), Err(TopicError::Wildcard), "{text}");
        }
        for text in ["a/#/b", "#/", "a#", "a/b+", "++", "a/+b/c", "##"] {
            assert_eq!(TopicFilter::new(text), Err(TopicError::Wildcard), "{text}");
        }
    }

    #[test]
    fn the_longest_and_the_deepest_topic_pass() {
        assert!(TopicName::new(&"a".repeat(TOPIC_BYTES_MAX)).is_ok());
        assert!(TopicFilter::new(&"/".repeat(TOPIC_LEVELS_MAX - 1)).is_ok());
    }

    #[test]
    fn a_prefix_ends_at_a_level() {
        let name = TopicName::new("$muster/d1/control/up").unwrap();
        for prefix in ["$muster", "$muster/", "$muster/d1/control", "$muster/d1/control/up"] {
            assert!(name.is_at_or_below(prefix), "{prefix}");
        }
        for prefix in ["$must", "$muster/d", "$muster/d1/control/up/x", "d1"] {
            assert!(!name.is_at_or_below(prefix), "{prefix}");
        }
    }
}
