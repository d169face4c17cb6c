//! A cursor over strict DER: definite, minimal lengths (X.690, section 10), no trailing bytes. Knows no X.509.

/// The bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// The identifier octet of an element: class, form and number. Numbers that take more octets are not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) const BOOLEAN: Self = Self(0x01);
    pub(super) const INTEGER: Self = Self(0x02);
    pub(super) const BIT_STRING: Self = Self(0x03);
    pub(super) const OCTET_STRING: Self = Self(0x04);
    pub(super) const OBJECT_IDENTIFIER: Self = Self(0x06);
    pub(super) const UTF8_STRING: Self = Self(0x0c);
    pub(super) const PRINTABLE_STRING: Self = Self(0x13);
    pub(super) const UTC_TIME: Self = Self(0x17);
    pub(super) const GENERALIZED_TIME: Self = Self(0x18);
    pub(super) const SEQUENCE: Self = Self(0x30);
    pub(super) const SET: Self = Self(0x31);

    /// Context-specific, constructed: `[number]`.
    pub(super) const fn constructed(number: u8) -> Self {
        Self(0xa0 | number)
    }

    /// Context-specific, primitive: `[number] IMPLICIT`.
    pub(super) const fn primitive(number: u8) -> Self {
        Self(0x80 | number)
    }

    fn read(octet: u8) -> Result<Self, Malformed> {
        let is_known = match octet {
            0x00..=0x1e => UNIVERSAL & 1 << octet != 0,
            0x20..=0x3f => matches!(Self(octet), Self::SEQUENCE | Self::SET),
            // Of the other classes any, but for a number that is spelt out in the next octets.
            _ => octet & 0x1f != 0x1f,
        };
        if is_known { Ok(Self(octet)) } else { Err(Malformed) }
    }
}

/// The universal types that are primitive in DER, a bit for each: those of the constants above, NULL, REAL, ENUMERATED
/// and the other strings (X.680, section 8.4).
const UNIVERSAL: u32 = 0b0100_0101_1111_1100_0001_0110_0111_1110;

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
        let [tag, first, content @ ..] = self.rest else { return Err(Malformed) };
        let tag = Tag::read(*tag)?;
        let (length, content) = read_length(*first, content)?;
        let (value, rest) = content.split_at_checked(length).ok_or(Malformed)?;
        let (whole, rest) = self.rest.split_at_checked(self.rest.len() - rest.len()).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Tlv { tag, value, whole })
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

/// A length whose first octet is `first`, and what follows it: the short form up to 127, above that as few octets as will
/// do, and never more than four.
fn read_length(first: u8, rest: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    match first {
        0..=0x7f => Ok((usize::from(first), rest)),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
            let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            if length < 0x80 || octets.first() == Some(&0) { Err(Malformed) } else { Ok((length, rest)) }
        }
        _ => Err(Malformed),
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

/// Writes an INTEGER's value into `number`, big endian: minimal (X.690, section 8.3.2), not negative, not longer than that.
pub(super) fn unsigned(value: &[u8], number: &mut [u8]) -> Result<(), Malformed> {
    let digits = match value {
        [0, digits @ ..] if digits.first() >= Some(&0x80) => digits,
        [0] | [0x01..=0x7f, ..] => value,
        _ => return Err(Malformed),
    };
    let room = number.len().checked_sub(digits.len()).and_then(|zeros| number.get_mut(zeros..)).ok_or(Malformed)?;
    room.copy_from_slice(digits);
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use der::{Decode as _, Reader as _};
    use proptest::prelude::*;

    use super::*;

    /// The first element as the der crate reads it: its tag octet, its content, and how many bytes it takes.
    fn peer(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
        let mut reader = der::SliceReader::new(bytes).ok()?;
        let header = der::Header::decode(&mut reader).ok()?;
        let value = reader.read_slice(header.length).ok()?;
        Some((header.tag.octet(), value, usize::try_from(reader.position()).ok()?))
    }

    #[test]
    fn every_tag_is_judged_as_the_der_crate_does() {
        for octet in 0..=u8::MAX {
            let bytes = [octet, 1, 0];
            let ours = Cursor::new(&bytes).next().map(|element| element.tag.0).ok();
            assert_eq!(ours, peer(&bytes).map(|(tag, ..)| tag), "{octet:02x}");
        }
    }

    proptest! {
        #[test]
        fn every_header_is_judged_as_the_der_crate_does(
            first in prop_oneof![Just(0x81_u8), Just(0x82), Just(0x83), Just(0x84), any::<u8>()],
            octets in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..6),
            room in 0..600_usize,
        ) {
            let mut bytes = vec![0x04, first];
            bytes.extend(octets);
            bytes.resize(bytes.len() + room, 0xaa);
            let ours = Cursor::new(&bytes).next().ok();
            let ours = ours.map(|element| (element.tag.0, element.value, element.whole.len()));
            prop_assert_eq!(ours, peer(&bytes));
        }

        #[test]
        fn every_integer_is_judged_as_the_der_crate_does(
            value in prop::collection::vec(prop_oneof![Just(0_u8), Just(0x7f), Just(0x80), any::<u8>()], 0..6),
        ) {
            let mut bytes = vec![0x02, value.len() as u8];
            bytes.extend(&value);
            let peer = der::asn1::UintRef::from_der(&bytes).ok().filter(|number| number.as_bytes().len() <= 4);
            let mut number = [0; 4];
            let read = unsigned(&value, &mut number);
            prop_assert_eq!(read.is_ok(), peer.is_some());
            if let Some(peer) = peer {
                prop_assert!(number.ends_with(peer.as_bytes()));
            }
        }
    }

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(only(&[0x04, 0x01, 0xaa], Tag::OCTET_STRING), Ok(&[0xaa][..]));
        for bad in [
            &[0x04, 0x81, 0x01, 0xaa][..],
            &[0x04, 0x80, 0xaa, 0, 0],
            &[0x04, 0x02, 0xaa],
            &[0x04, 0x01, 0xaa, 0x00],
            &[0x04],
            &[],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(only(bad, Tag::OCTET_STRING), Err(Malformed), "{bad:02x?}");
        }
    }
}
