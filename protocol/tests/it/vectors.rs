//! Golden bytes: what every format looks like, one name and its bytes in hex per line. A change of these files is a
//! change of a format: new version, docs/formats.md, CHANGELOG.

use std::fmt::Write;

/// Holds `bytes` against the vector `name` in the text of a vector file.
pub(crate) fn hold(vectors: &str, name: &str, bytes: &[u8]) {
    let expected = find(vectors, name);
    let found = hex(bytes);
    assert!(expected.as_deref() == Some(&found), "the bytes of {name} changed. Now they are\n{name} = {found}");
}

/// The bytes of a vector.
pub(crate) fn bytes(vectors: &str, name: &str) -> Vec<u8> {
    let text = find(vectors, name).unwrap_or_else(|| panic!("no vector {name}"));
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn find(vectors: &str, name: &str) -> Option<String> {
    let lines = vectors.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).find(|(key, _)| *key == name).map(|(_, hex)| hex.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
