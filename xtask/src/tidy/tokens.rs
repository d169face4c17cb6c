//! Rust source as words and signs, without comments and literals, so that rules are not fooled by what is only said.

/// A word or a sign, with its line from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// The tokens of a source file. String, byte and character literals become `""`.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let bytes = source.as_bytes();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let rest = &source[at..];
        let (length, text) = match bytes[at] {
            b'/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            b'/' if rest.starts_with("/*") => (block_comment(rest), None),
            b'r' | b'b' | b'c' if raw_string(rest).is_some() => (raw_string(rest).unwrap_or(1), Some("\"\"")),
            b'b' | b'c' if rest[1..].starts_with('"') => (1 + string(&rest[1..]), Some("\"\"")),
            b'"' => (string(rest), Some("\"\"")),
            b'\'' => character(rest).map_or((1, Some("'")), |length| (length, Some("\"\""))),
            byte if byte.is_ascii_whitespace() => (1, None),
            byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                let length =
                    rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(rest.chars().next().map_or(1, char::len_utf8));
                (length, Some(&rest[..length]))
            }
            _ => (1, Some(&rest[..1])),
        };
        if let Some(text) = text {
            found.push(Token { text, line });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..rest.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a quoted string with escapes.
fn string(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of `r"…"`, `r#"…"#`, `br"…"` and their like; none for anything else.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('b').or(rest.strip_prefix('c')).unwrap_or(rest).strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - after.len() + hashes + 1;
    Some(rest[start..].find(&end).map_or(rest.len(), |found| start + found + end.len()))
}

/// Length of a character literal; none for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest[1..].char_indices();
    match characters.next()? {
        (_, '\\') => rest[3..].find('\'').map(|found| 3 + found + 1),
        _ => characters.next().filter(|(_, next)| *next == '\'').map(|(at, _)| 1 + at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn leaves_out_comments_and_literals() {
        assert_eq!(words("a /* b /* c */ d */ e // f\ng"), ["a", "e", "g"]);
        assert_eq!(words(r#"x("todo!()", 'c', '\'', b"q\"", '\u{1b}')"#).concat(), r#"x("","","","","")"#);
        assert_eq!(words("r#\"a \" b\"# c br\"x\" r d"), ["\"\"", "c", "\"\"", "r", "d"]);
        assert_eq!(words("fn f<'a>(x: &'a str)").concat(), "fnf<'a>(x:&'astr)");
        assert_eq!(words("é_1 ✓"), ["é_1", "✓"]);
    }

    #[test]
    fn counts_lines() {
        let lines: Vec<_> = tokens("a\n\"x\ny\" b /* \n */ c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }
}
