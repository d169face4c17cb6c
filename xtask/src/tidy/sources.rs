//! Rules on Rust files: the header, the size, and nothing left undone or switched off.

use std::path::Path;

use super::tokens::{Token, tokens};
use super::{File, Finding};

/// All rules of this page on one file.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let found = tokens(&file.text);
    let mut findings = header(file);
    findings.extend(size(file, &found));
    findings.extend(undone(file, &found));
    findings.extend(anyhow(file, &found));
    findings
}

/// A file says what lives in it before anything else.
fn header(file: &File) -> Vec<Finding> {
    match file.text.lines().next() {
        Some(first) if first.starts_with("//!") => Vec::new(),
        _ => vec![Finding::error(&file.path, 1, "opens without `//!` saying what lives here")],
    }
}

/// One idea a file: a look past 400 lines, a split past 600; tests do not count.
fn size(file: &File, found: &[Token<'_>]) -> Vec<Finding> {
    if is_test_file(&file.path) {
        return Vec::new();
    }
    let lines = test_module(found).map_or(file.text.lines().count(), |line| line - 1);
    if lines > LINES_MAX {
        return vec![Finding::error(&file.path, 0, format!("{lines} lines without its tests; {LINES_MAX} at most"))];
    }
    let long = lines > LINES_GOOD;
    long.then(|| Finding::warning(&file.path, 0, format!("{lines} lines without its tests"))).into_iter().collect()
}

/// The line of `#[cfg(test)]` before the module of unit tests.
fn test_module(found: &[Token<'_>]) -> Option<usize> {
    let starts = found.windows(7).enumerate().filter(|(_, seven)| {
        let text: Vec<&str> = seven.iter().map(|token| token.text).collect();
        text == ["#", "[", "cfg", "(", "test", ")", "]"]
    });
    let mut modules = starts.filter(|(at, _)| {
        let mut after = found[at + 7..].iter().map(|token| token.text).take_while(|text| !matches!(*text, ";" | "}"));
        let words: Vec<&str> = after.by_ref().take(24).take_while(|text| *text != "{").collect();
        words.contains(&"mod") && after.next().is_some()
    });
    modules.next().map(|(at, _)| found[at].line)
}

/// No work left for later, no test switched off, no test that passes by dying anywhere.
fn undone(file: &File, found: &[Token<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for three in found.windows(3) {
        let text = match three.iter().map(|token| token.text).collect::<Vec<_>>()[..] {
            ["todo" | "unimplemented", "!", _] => "work left for later: finish it or take it out",
            ["#", "[", "ignore"] => "a test switched off: mend it or take it out",
            ["#", "[", "should_panic"] => "should_panic passes on any panic: test the error instead",
            _ => continue,
        };
        findings.push(Finding::error(&file.path, three[0].line, text));
    }
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("//") && line.contains("```ignore") {
            findings.push(Finding::error(
                &file.path,
                index + 1,
                "a documented example switched off: use `no_run` or text",
            ));
        }
    }
    findings
}

/// Libraries name their errors; anyhow is for `main.rs`, programs of the tests, the host's board, xtask and provisioning.
fn anyhow(file: &File, found: &[Token<'_>]) -> Vec<Finding> {
    let path = file.path.to_string_lossy();
    let allowed =
        ["xtask/", "provisioning/", "system-tests/", "boards/host/"].iter().any(|folder| path.starts_with(folder))
            || path.ends_with("/main.rs")
            || is_test_file(&file.path);
    let named = found.iter().find(|token| token.text == "anyhow").filter(|_| !allowed);
    named
        .map(|token| Finding::error(&file.path, token.line, "anyhow in a library: name the error"))
        .into_iter()
        .collect()
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "benches" | "fuzz")))
}

const LINES_GOOD: usize = 400;
const LINES_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::super::Weight;
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<(usize, Weight)> {
        let file = File { path: path.into(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| (finding.line, finding.weight)).collect()
    }

    #[test]
    fn wants_a_header() {
        assert_eq!(findings("gateway/src/a.rs", "//! Says.\nfn a() {}\n"), []);
        for text in ["", "use x;\n", "// Says.\n", "\n//! Late.\n"] {
            assert_eq!(findings("gateway/src/a.rs", text), [(1, Weight::Error)], "{text:?}");
        }
    }

    #[test]
    fn wants_small_files_and_forgives_tests() {
        let body = |lines: usize| format!("//! Says.\n{}", "fn a() {}\n".repeat(lines - 1));
        let tests = "#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n".to_owned() + &"// more\n".repeat(900);
        assert_eq!(findings("a/src/a.rs", &body(400)), []);
        assert_eq!(findings("a/src/a.rs", &body(401)), [(0, Weight::Warning)]);
        assert_eq!(findings("a/src/a.rs", &body(601)), [(0, Weight::Error)]);
        assert_eq!(findings("a/src/a.rs", &(body(400) + &tests)), []);
        assert_eq!(findings("a/src/a.rs", &(body(601) + &tests)), [(0, Weight::Error)]);
        assert_eq!(findings("a/tests/it/a.rs", &body(900)), []);
        assert_eq!(findings("a/src/session/tests.rs", &body(900)), []);
        let elsewhere = body(10) + "#[cfg(test)]\nmod tests;\n" + &body(601);
        assert_eq!(findings("a/src/a.rs", &elsewhere), [(0, Weight::Error)]);
    }

    #[test]
    fn wants_nothing_undone_or_switched_off() {
        for bad in [
            "fn a() { todo!() }",
            "fn a() { unimplemented!(\"x\") }",
            "#[ignore] fn a() {}",
            "#[ignore = \"slow\"] fn a() {}",
        ] {
            assert_eq!(findings("a/src/a.rs", &format!("//! Says.\n{bad}\n")), [(2, Weight::Error)], "{bad}");
        }
        assert_eq!(
            findings("a/tests/a.rs", "//! Says.\n#[should_panic(expected = \"x\")]\nfn a() {}"),
            [(2, Weight::Error)]
        );
        assert_eq!(findings("a/src/a.rs", "//! Says.\n/// ```ignore\nfn a() {}"), [(2, Weight::Error)]);
        assert_eq!(findings("a/src/a.rs", "//! todo!()\nfn a() { b(\"#[ignore]\") } // should_panic"), []);
    }

    #[test]
    fn keeps_anyhow_out_of_libraries() {
        let text = "//! Says.\nuse anyhow::Result;\n";
        assert_eq!(findings("gateway/src/session.rs", text), [(2, Weight::Error)]);
        assert_eq!(findings("protocol/src/main_loop.rs", text), [(2, Weight::Error)]);
        for path in ["gateway/src/main.rs", "xtask/src/a.rs", "boards/host/src/a.rs", "agent-std/tests/it/a.rs"] {
            assert_eq!(findings(path, text), [], "{path}");
        }
    }
}
