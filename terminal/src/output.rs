//! Where a command's words go: data to stdout, everything else to stderr.
//!
//! Scripts capture stdout, so nothing but the answer is ever written there. Colour needs a terminal and no `NO_COLOR`;
//! a prompt needs a terminal on both ends. A reader that closes the pipe early (`| head`) is not an error.

use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::failure::Failure;

/// For whom a command answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// A person: prose, tables, progress.
    #[default]
    Text,
    /// A script (`--json`): one JSON object per answer, errors included.
    Json,
}

/// One of the two standard streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// Data.
    Stdout,
    /// Everything else.
    Stderr,
}

/// What a colour says; the word itself must say it too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// It worked.
    Good,
    /// Look here.
    Warning,
    /// It did not work.
    Bad,
    /// A heading.
    Strong,
    /// Less important.
    Faint,
}

/// `--yes`, to be flattened into a command that asks before it acts.
#[derive(clap::Args, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Confirmation {
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
}

/// The two streams of a running command. Cheap to share between tasks by reference.
pub struct Output {
    format: Format,
    quiet: bool,
    colour_stdout: bool,
    colour_stderr: bool,
    interactive: bool,
    drawable: bool,
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
}

impl Output {
    /// The process's own streams.
    pub fn standard(format: Format) -> Output {
        let colour = format == Format::Text && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let drawable = format == Format::Text && io::stderr().is_terminal();
        Output {
            format,
            quiet: false,
            colour_stdout: colour && io::stdout().is_terminal(),
            colour_stderr: colour && io::stderr().is_terminal(),
            interactive: drawable && io::stdin().is_terminal(),
            drawable,
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
        }
    }

    /// Any two writers, without colour or prompts; for tests.
    pub fn to(format: Format, stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Output {
        Output {
            format,
            quiet: false,
            colour_stdout: false,
            colour_stderr: false,
            interactive: false,
            drawable: false,
            stdout: Mutex::new(stdout),
            stderr: Mutex::new(stderr),
        }
    }

    /// Without notes and progress (`--quiet`); warnings and errors stay.
    #[must_use]
    pub fn quiet(mut self) -> Output {
        self.quiet = true;
        self
    }

    /// For whom this command answers.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether notes and progress are wanted.
    pub fn is_chatty(&self) -> bool {
        self.format == Format::Text && !self.quiet
    }

    /// Writes one line of data to stdout.
    pub fn data(&self, line: impl fmt::Display) -> Result<(), Failure> {
        let mut stdout = self.stdout.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| write_failure(&error))
    }

    /// Answers with one thing: `record` as a JSON object (`"v":1` is added), or the text made for a person.
    pub fn record(&self, record: Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.data(versioned(record)),
            Format::Text => self.data(text().trim_end_matches('\n')),
        }
    }

    /// Tells a person something that is not the answer; silent with `--json` and `--quiet`.
    pub fn note(&self, text: impl fmt::Display) {
        if self.is_chatty() {
            self.say(format_args!("{text}"));
        }
    }

    /// Warns; an object `{"v":1,"warning":…}` with `--json`.
    pub fn warning(&self, text: impl fmt::Display) {
        match self.format {
            Format::Json => self.say(json!({ "v": 1, "warning": text.to_string() })),
            Format::Text => {
                let word = self.toned(Stream::Stderr, Tone::Warning, "warning:");
                self.say(format_args!("{word} {}", printable(&text.to_string())));
            }
        }
    }

    /// Prints why a command ended: prose, or one JSON object with `--json`.
    pub fn failure(&self, failure: &Failure) {
        match self.format {
            Format::Json => self.say(failure.to_json()),
            Format::Text => {
                self.say(format_args!("{} {failure}", self.toned(Stream::Stderr, Tone::Bad, "error:")));
            }
        }
    }

    /// The text in the tone's colour, or as it is where colour has no place.
    pub fn toned(&self, stream: Stream, tone: Tone, text: &str) -> String {
        let coloured = match stream {
            Stream::Stdout => self.colour_stdout,
            Stream::Stderr => self.colour_stderr,
        };
        let number = match tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Strong => 1,
            Tone::Faint => 2,
        };
        if coloured { format!("\u{1b}[{number}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Asks `what` (a sentence saying what will happen) unless `--yes` was given.
    ///
    /// Without a terminal it never waits: exit 2, naming the flag.
    pub fn confirm(&self, what: &str, confirmation: Confirmation) -> Result<(), Failure> {
        if confirmation.yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::usage(
                "confirmation.needed",
                format!("{}: this needs a confirmation", what.trim_end_matches('.')),
            )
            .hint("add --yes to do it without being asked"));
        }
        {
            let mut stderr = self.stderr.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let _ = write!(stderr, "{} Go on? [y/N] ", printable(what)).and_then(|()| stderr.flush());
        }
        let mut answer = String::new();
        let _ = io::stdin().lock().read_line(&mut answer);
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::failed("confirmation.declined", "not confirmed; nothing was done")),
        }
    }

    /// Whether somebody can be asked: a terminal on stdin and stderr, and no `--json`.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Whether a bar can be drawn: stderr is a terminal.
    pub(crate) fn is_drawable(&self) -> bool {
        self.drawable
    }

    /// A line on stderr; a closed stderr is nobody's problem.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        let mut stderr = self.stderr.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
    }
}

/// The text with control characters escaped, so that a device's name cannot drive a person's terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The object with `"v":1` among its fields; anything else becomes its `"value"`.
pub(crate) fn versioned(record: Value) -> Value {
    let mut object = Map::new();
    object.insert("v".to_owned(), json!(1));
    match record {
        Value::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Value::Object(object)
}

/// A closed pipe ends the command quietly with exit 0: its reader has what it wanted.
fn write_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, "output.closed", "the reader closed the pipe"),
        _ => Failure::failed("output.failed", format!("cannot write the answer: {error}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    /// A writer whose bytes a test reads back.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn captured(format: Format) -> (Output, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        (Output::to(format, Box::new(out.clone()), Box::new(err.clone())), out, err)
    }

    struct Closed(io::ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_data_reaches_stdout() {
        let (output, out, err) = captured(Format::Text);
        output.data("answer").unwrap();
        output.note("by the way");
        output.warning("look");
        output.failure(&Failure::failed("a.b", "broken").hint("mend it"));
        assert_eq!(out.text(), "answer\n");
        assert_eq!(err.text(), "by the way\nwarning: look\nerror: broken\n  hint: mend it\n");
    }

    #[test]
    fn json_makes_every_line_an_object() {
        let (output, out, err) = captured(Format::Json);
        output.record(json!({ "state": "active" }), String::new).unwrap();
        output.note("by the way");
        output.warning("look");
        output.failure(&Failure::refused("a.b", "no"));
        assert_eq!(out.text(), "{\"state\":\"active\",\"v\":1}\n");
        let lines: Vec<Value> = err.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["code"]), (2, &json!("a.b")));
    }

    #[test]
    fn quiet_keeps_warnings() {
        let (output, _, err) = captured(Format::Text);
        let output = output.quiet();
        output.note("by the way");
        output.warning("look");
        assert_eq!(err.text(), "warning: look\n");
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        let closed =
            |kind| Output::to(Format::Text, Box::new(Closed(kind)), Box::new(io::sink())).data("x").unwrap_err();
        assert_eq!(closed(io::ErrorKind::BrokenPipe).exit, Exit::Done);
        assert_eq!(closed(io::ErrorKind::StorageFull).exit, Exit::Failed);
    }

    #[test]
    fn never_asks_without_a_terminal() {
        let (output, _, err) = captured(Format::Text);
        let refused = output.confirm("Revoke 9 devices", Confirmation::default()).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.hint.unwrap().contains("--yes"));
        assert_eq!(err.text(), "");
        output.confirm("Revoke 9 devices", Confirmation { yes: true }).unwrap();
    }

    #[test]
    fn hostile_text_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}]0;owned\u{7}b\u{9b}"), "a\\u{1b}]0;owned\\u{7}b\\u{9b}");
        let (output, ..) = captured(Format::Text);
        assert_eq!(output.toned(Stream::Stdout, Tone::Bad, "x"), "x");
    }
}
