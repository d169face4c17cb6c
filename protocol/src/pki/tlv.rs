//! A cursor over strict DER: definite, minimal lengths (X.690, section 10), no trailing bytes. Knows no X.509.

use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

/// The bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tlv<'a> {
    pub(super) tag: Tag,
    /// The content octets.
    pub(super) value: &'a [u8],
    /// Header and content.
    pub(super) whole: &'a [u8],
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn next(&mut self) -> Result<Tlv<'a>, Malformed> {
        let mut reader = SliceReader::new(self.rest).map_err(|_| Malformed)?;
        let header = Header::decode(&mut reader).map_err(|_| Malformed)?;
        let value = reader.read_slice(header.length).map_err(|_| Malformed)?;
        let end = usize::try_from(reader.position()).map_err(|_| Malformed)?;
        let (whole, rest) = self.rest.split_at_checked(end).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Tlv { tag: header.tag, value, whole })
    }

    /// The next element, which has to have `tag`.
    pub(super) fn expect(&mut self, tag: Tag) -> Result<Tlv<'a>, Malformed> {
        let element = self.next()?;
        if element.tag == tag { Ok(element) } else { Err(Malformed) }
    }

    /// The next element if it has `tag`; nothing is read otherwise.
    pub(super) fn optional(&mut self, tag: Tag) -> Result<Option<Tlv<'a>>, Malformed> {
        let mut ahead = *self;
        if ahead.is_empty() {
            return Ok(None);
        }
        let element = ahead.next()?;
        if element.tag != tag {
            return Ok(None);
        }
        *self = ahead;
        Ok(Some(element))
    }

    /// Nothing may be left.
    pub(super) const fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Reads `bytes` as one element of `tag` with nothing after it; gives its content.
pub(super) fn only(bytes: &[u8], tag: Tag) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(bytes);
    let element = cursor.expect(tag)?;
    cursor.finish()?;
    Ok(element.value)
}

/// A BIT STRING's octets, when no bit is unused.
pub(super) fn whole_octets(value: &[u8]) -> Result<&[u8], Malformed> {
    match value {
        [0, octets @ ..] => Ok(octets),
        _ => Err(Malformed),
    }
}

/// A BOOLEAN's value (X.690, section 11.1).
pub(super) const fn boolean(value: &[u8]) -> Result<bool, Malformed> {
    match value {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Malformed),
    }
}

/// Context-specific, constructed: `[number]`.
pub(super) const fn constructed(number: TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: true, number }
}

/// Context-specific, primitive: `[number] IMPLICIT`.
pub(super) const fn primitive(number: TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: false, number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(only(&[0x04, 0x01, 0xaa], Tag::OctetString), Ok(&[0xaa][..]));
        for bad in [
            &[0x04, 0x81, 0x01, 0xaa][..],
            &[0x04, 0x80, 0xaa, 0, 0],
            &[0x04, 0x02, 0xaa],
            &[0x04, 0x01, 0xaa, 0x00],
            &[0x04],
            &[],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(only(bad, Tag::OctetString), Err(Malformed), "{bad:02x?}");
        }
    }
}
