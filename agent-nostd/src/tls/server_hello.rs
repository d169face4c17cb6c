//! A ServerHello has to answer our ClientHello and nothing else (RFC 9846, section 4.1.3). embedded-tls looks at the key
//! share alone: not at the suite, not at the version, not at a retry.
//!
//! | bytes | what | has to be |
//! |---|---|---|
//! | 1 + 3 | type, length | 2, the rest of the record: no message before the keys change |
//! | 2 | legacy_version | 0x0303 |
//! | 32 | random | not that of a HelloRetryRequest |
//! | 1 | legacy_session_id_echo | empty, as ours was |
//! | 2 + 1 | suite, compression | the one that was offered, 0 |
//! | 2 | length of extensions | the rest |
//! | 6 | supported_versions | once, 0x0304 |
//! | 73 | key_share | once, secp256r1, 65 bytes |

use super::error::Breach;

/// Checks the payload of the first record.
pub(super) fn check(record: &[u8], suite: u16) -> Result<(), Breach> {
    let mut rest = Reader(record);
    if rest.byte()? != SERVER_HELLO || rest.u24()? != rest.0.len() {
        return Err(Breach::ServerHello);
    }
    let legacy_version = rest.u16()?;
    let random = rest.take(32)?;
    if random == HELLO_RETRY_RANDOM {
        return Err(Breach::HelloRetry);
    }
    let session_id_bytes = usize::from(rest.byte()?);
    let session_id = rest.take(session_id_bytes)?;
    let chosen = rest.u16()?;
    let compression = rest.byte()?;
    // TLS 1.2 may end here, and has no supported_versions.
    let extensions_bytes = if rest.0.is_empty() { 0 } else { usize::from(rest.u16()?) };
    if extensions_bytes != rest.0.len() {
        return Err(Breach::ServerHello);
    }
    let (mut version, mut has_share) = (None, false);
    while !rest.0.is_empty() {
        let kind = rest.u16()?;
        let length = usize::from(rest.u16()?);
        let mut body = Reader(rest.take(length)?);
        match kind {
            SUPPORTED_VERSIONS if version.is_none() && length == 2 => version = Some(body.u16()?),
            KEY_SHARE if !has_share => {
                has_share = body.u16()? == SECP256R1 && body.u16()? == 65 && body.0.len() == 65;
                if !has_share {
                    return Err(Breach::ServerHello);
                }
            }
            // Neither was anything else asked for.
            _ if version == Some(TLS13) => return Err(Breach::ServerHello),
            _ => {}
        }
    }
    if version != Some(TLS13) {
        return Err(Breach::Version);
    }
    let is_ours = legacy_version == 0x0303 && session_id.is_empty() && chosen == suite && compression == 0 && has_share;
    if is_ours { Ok(()) } else { Err(Breach::ServerHello) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Breach> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Breach::ServerHello)?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Breach> {
        self.take(1)?.first().copied().ok_or(Breach::ServerHello)
    }

    fn u16(&mut self) -> Result<u16, Breach> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn u24(&mut self) -> Result<usize, Breach> {
        Ok(usize::from(self.byte()?) << 16 | usize::from(self.u16()?))
    }
}

const SERVER_HELLO: u8 = 2;
const KEY_SHARE: u16 = 51;
const SUPPORTED_VERSIONS: u16 = 43;
const SECP256R1: u16 = 0x0017;
const TLS13: u16 = 0x0304;
/// SHA-256 of "HelloRetryRequest".
const HELLO_RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: u16 = 0x1301;

    fn hello() -> [u8; 123] {
        let mut hello = [9; 123];
        hello[..6].copy_from_slice(&[SERVER_HELLO, 0, 0, 119, 3, 3]);
        hello[38..44].copy_from_slice(&[0, 0x13, 0x01, 0, 0, 79]);
        hello[44..50].copy_from_slice(&[0, 43, 0, 2, 3, 4]);
        hello[50..58].copy_from_slice(&[0, 51, 0, 69, 0, 0x17, 0, 65]);
        hello
    }

    #[test]
    fn an_answer_to_our_hello_is_taken_and_no_piece_of_it() {
        assert_eq!(check(&hello(), SUITE), Ok(()));
        for end in 0..hello().len() {
            assert!(check(&hello()[..end], SUITE).is_err(), "{end}");
        }
        assert_eq!(check(&hello(), 0x1302), Err(Breach::ServerHello));
    }

    /// Only the random and the point may be anything; the point is judged by the curve.
    #[test]
    fn every_bit_but_those_of_random_and_point_has_to_be_as_it_is() {
        for at in (0..6).chain(38..58) {
            for bit in 0..8 {
                let mut hello = hello();
                hello[at] ^= 1 << bit;
                assert!(check(&hello, SUITE).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_retry_and_another_version_have_names_of_their_own() {
        let mut retry = hello();
        retry[6..38].copy_from_slice(&HELLO_RETRY_RANDOM);
        assert_eq!(check(&retry, SUITE), Err(Breach::HelloRetry));
        let mut old = hello();
        old[49] = 3;
        assert_eq!(check(&old, SUITE), Err(Breach::Version));
        // TLS 1.2 without extensions.
        let mut plain = [9; 42];
        plain[..6].copy_from_slice(&[SERVER_HELLO, 0, 0, 38, 3, 3]);
        plain[38..].copy_from_slice(&[0, 0xc0, 0x2b, 0]);
        assert_eq!(check(&plain, SUITE), Err(Breach::Version));
    }
}
