//! Distinguished names (RFC 5280, section 4.1.2.4), as far as anything here looks into one.

use super::tlv::{Cursor, Malformed, Tag};

/// One attribute of a distinguished name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) oid: &'a [u8],
    pub(super) tag: Tag,
    pub(super) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value, if it is a PrintableString or UTF8String.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.tag {
            Tag::PRINTABLE_STRING | Tag::UTF8_STRING => core::str::from_utf8(self.value).ok(),
            _ => None,
        }
    }
}

/// The attributes of an RDNSequence, given its content octets. A malformed name ends the walk; [`check`] finds that.
pub(super) fn attributes<'a>(content: &'a [u8]) -> impl Iterator<Item = Attribute<'a>> {
    let mut names = Cursor::new(content);
    let mut set = Cursor::new(&[]);
    core::iter::from_fn(move || next(&mut names, &mut set).ok().flatten())
}

/// Whether the content octets are an RDNSequence.
pub(super) fn check(content: &[u8]) -> Result<(), Malformed> {
    let mut names = Cursor::new(content);
    let mut set = Cursor::new(&[]);
    while next(&mut names, &mut set)?.is_some() {}
    Ok(())
}

fn next<'a>(names: &mut Cursor<'a>, set: &mut Cursor<'a>) -> Result<Option<Attribute<'a>>, Malformed> {
    if set.is_empty() {
        if names.is_empty() {
            return Ok(None);
        }
        *set = Cursor::new(names.expect(Tag::SET)?.value);
        // RelativeDistinguishedName ::= SET SIZE (1..MAX)
        if set.is_empty() {
            return Err(Malformed);
        }
    }
    let mut attribute = Cursor::new(set.expect(Tag::SEQUENCE)?.value);
    let oid = attribute.expect(Tag::OBJECT_IDENTIFIER)?.value;
    let value = attribute.next()?;
    attribute.finish()?;
    Ok(Some(Attribute { oid, tag: value.tag, value: value.value }))
}
