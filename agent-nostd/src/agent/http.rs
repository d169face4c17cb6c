//! An answer of HTTP/1.1 (RFC 9112), as little as the open address takes: a plain 200 with a Content-Length or up to the
//! end, bounded. Whose answer it is is not known, and what it holds is checked by the core.

use embedded_io_async::Read;
use muster_protocol::limits::TRUST_BUNDLE_BYTES_MAX;

/// Reads a 200 answer: its header fields into `head`, its content into `body`. The content's length, if it is whole and
/// not longer than a bundle may be.
pub(super) async fn read_answer(stream: &mut impl Read, head: &mut [u8], body: &mut [u8]) -> Option<usize> {
    let mut filled = 0;
    let (fields, early) = loop {
        if let Some(end) = head.get(..filled)?.windows(4).position(|window| window == b"\r\n\r\n") {
            break (end, end + 4);
        }
        let count = stream.read(head.get_mut(filled..).filter(|room| !room.is_empty())?).await.ok()?;
        if count == 0 {
            return None;
        }
        filled += count;
    };
    let announced = content_length(head.get(..fields)?)?;
    let early = head.get(early..filled)?;
    let mut length = early.len();
    body.get_mut(..length)?.copy_from_slice(early);
    let room = body.len().min(announced.unwrap_or(TRUST_BUNDLE_BYTES_MAX + 1));
    while length < room {
        // A server that closes without TLS's own goodbye; length and signature tell whether all is there.
        match stream.read(body.get_mut(length..room)?).await {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    let length = match announced {
        Some(announced) if announced <= length => announced,
        Some(_) => return None,
        None => length,
    };
    (1..=TRUST_BUNDLE_BYTES_MAX).contains(&length).then_some(length)
}

/// Judges the header of an answer: `None` when it is not a plain 200; the announced length, if one is announced.
fn content_length(head: &[u8]) -> Option<Option<usize>> {
    let status = lines(head).next()?;
    let is_ok = status.starts_with(b"HTTP/1.1 200 ") || status == b"HTTP/1.1 200";
    let is_plain = field(head, b"transfer-encoding").is_none() && field(head, b"content-encoding").is_none();
    if !is_ok || !is_plain {
        return None;
    }
    match field(head, b"content-length") {
        Some(digits) => number(digits).map(Some),
        None => Some(None),
    }
}

fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines(head).skip(1).find_map(|line| {
        let (field, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        field.eq_ignore_ascii_case(name).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// Lines end with CR LF, or with LF alone (section 2.2).
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use embassy_futures::block_on;

    use super::*;

    fn answer(text: &[u8]) -> Option<heapless::Vec<u8, 4096>> {
        let (mut head, mut body) = ([0; 128], [0; 3_200]);
        let mut stream = text;
        let length = block_on(read_answer(&mut stream, &mut head, &mut body))?;
        heapless::Vec::from_slice(body.get(..length)?).ok()
    }

    #[test]
    fn only_a_whole_plain_answer_has_a_bundle() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some("abc")),
            ("HTTP/1.1 200 OK\r\ncontent-length:3\r\nX: y\r\n\r\nabcd", Some("abc")),
            ("HTTP/1.1 200 OK\r\n\r\nabc", Some("abc")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc", None),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", None),
            ("", None),
        ] {
            assert_eq!(answer(text.as_bytes()).as_deref(), expected.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn a_bundle_of_the_longest_kind_fits_and_a_longer_answer_does_not() {
        for (length, fits) in [(TRUST_BUNDLE_BYTES_MAX, true), (TRUST_BUNDLE_BYTES_MAX + 1, false)] {
            let mut text = heapless::Vec::<u8, 4096>::from_slice(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_or_default();
            for _ in 0..length {
                assert!(text.push(b'x').is_ok());
            }
            assert_eq!(answer(&text).is_some_and(|body| body.len() == length), fits);
        }
        assert_eq!(answer(&[b'x'; 4096]), None, "an answer without a head");
    }
}
