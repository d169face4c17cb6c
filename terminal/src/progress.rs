//! How far long work has come: a bar on a terminal, a line every few seconds off it, nothing with `--json`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::time;

/// Work of a known number of steps. Share it by reference; every method takes `&self`.
pub struct Progress<'a> {
    what: String,
    bar: ProgressBar,
    /// Where occasional lines go, when there is no bar to draw and somebody wants to know.
    lines: Option<(&'a Output, Mutex<Instant>)>,
}

impl<'a> Progress<'a> {
    /// Starts: `what` is the work in a few words (`making identities`).
    pub fn new(output: &'a Output, what: impl Into<String>, total: u64) -> Progress<'a> {
        let what = what.into();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if !output.is_chatty() {
            return Progress { what, bar, lines: None };
        }
        if !output.is_drawable() {
            return Progress { what, bar, lines: Some((output, Mutex::new(Instant::now()))) };
        }
        let template = "{msg} [{bar:30}] {human_pos}/{human_len} {elapsed}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(what.clone());
        Progress { what, bar, lines: None }
    }

    /// Takes `steps` more steps.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        self.tell_sometimes();
    }

    /// Stands at `position` now.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
        self.tell_sometimes();
    }

    /// Says a line above the bar, without tearing it.
    pub fn say(&self, line: &str) {
        match &self.lines {
            Some((output, _)) => output.note(line),
            None => self.bar.println(line),
        }
    }

    /// Ends, and says what came of it with the time it took.
    pub fn finish(self, outcome: &str) {
        let line = format!("{outcome} in {}", time::duration(self.bar.elapsed()));
        self.say(&line);
        self.bar.finish_and_clear();
    }

    fn tell_sometimes(&self) {
        let Some((output, told_at)) = &self.lines else { return };
        let mut told_at = told_at.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if told_at.elapsed() >= TELL_EVERY {
            *told_at = Instant::now();
            let (position, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            output.note(format_args!("{}: {position} of {total}", self.what));
        }
    }
}

const TELL_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use crate::output::tests::captured;

    #[test]
    fn off_a_terminal_it_is_a_line_at_the_end() {
        let (output, out, err) = captured(Format::Text);
        let progress = Progress::new(&output, "making identities", 3);
        progress.advance(1);
        progress.set(3);
        progress.finish("3 identities made");
        assert!(err.text().starts_with("3 identities made in "), "{}", err.text());
        assert_eq!((err.text().lines().count(), out.text().as_str()), (1, ""));
    }

    #[test]
    fn scripts_see_none_of_it() {
        let (output, out, err) = captured(Format::Json);
        let progress = Progress::new(&output, "making identities", 3);
        progress.say("half way");
        progress.finish("made");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", ""));
    }
}
