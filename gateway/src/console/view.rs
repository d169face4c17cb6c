//! What the templates are filled with. Everything is text or a number; the templates escape it.

use askama::Template;
use muster_protocol::registrar::{Reason, Standing};
use muster_terminal::time::{now_unix_secs, relative};

use super::asset;
use super::histogram::Histogram;
use crate::admin::view::{AuditView, DeviceDetails, DeviceRow, StatusView};
use crate::admin::{Caller, Instant, OperationError};
use crate::audit::AuditKind;
use crate::store::OperatorRole;

/// What stands on every page.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) who: String,
    pub(super) role: &'static str,
    pub(super) may_act: bool,
    /// Where this page hears that it is old.
    pub(super) events: String,
    pub(super) icon: &'static str,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
}

impl Frame {
    pub(super) fn of(caller: Option<&Caller>, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            who: caller.and_then(Caller::name).map(ToString::to_string).unwrap_or_default(),
            role: caller.map_or("", |caller| caller.role().name()),
            may_act: caller.is_some_and(|caller| caller.role() >= OperatorRole::Operator),
            events: "/events".to_owned(),
            icon: asset::icon_path(),
            style: asset::style_path(),
            script: asset::script_path(),
        }
    }
}

/// The fleet.
#[derive(Template)]
#[template(path = "console/fleet.html")]
pub(super) struct Fleet {
    pub(super) frame: Frame,
    pub(super) search: String,
    pub(super) standing: Option<Standing>,
    pub(super) devices: Vec<DeviceRow>,
    pub(super) next: Option<String>,
    pub(super) is_first: bool,
    pub(super) status: StatusView,
    pub(super) histogram: Histogram,
}

impl Fleet {
    fn standings(&self) -> [Standing; 8] {
        Standing::ALL
    }

    fn is_chosen(&self, standing: &Standing) -> bool {
        self.standing.as_ref() == Some(standing)
    }

    fn standing_name(&self) -> &'static str {
        self.standing.map_or("", Standing::name)
    }
}

/// One device.
#[derive(Template)]
#[template(path = "console/device.html")]
pub(super) struct Device {
    pub(super) frame: Frame,
    pub(super) device: DeviceDetails,
    /// What was just done here.
    pub(super) done: Option<Done>,
}

/// An act that was just done, as the audit has it.
pub(super) struct Done {
    pub(super) text: &'static str,
    pub(super) at: Instant,
    pub(super) record: u64,
}

impl Device {
    /// What can be done with a device that stands there, in the order of its weight.
    fn acts(&self) -> &'static [&'static str] {
        match self.device.row.standing {
            Standing::Expected | Standing::Claimed => &["suspend", "revoke", "retire"],
            Standing::Enrolling | Standing::Active | Standing::Rotating => &["rotate", "suspend", "revoke", "retire"],
            Standing::Suspended => &["resume", "revoke", "retire"],
            Standing::Revoked => &["resume", "retire"],
            Standing::Retired => &[],
        }
    }
}

/// The page that asks before an act.
#[derive(Template)]
#[template(path = "console/ask.html")]
pub(super) struct Ask {
    pub(super) frame: Frame,
    pub(super) device: DeviceRow,
    pub(super) act: &'static str,
    pub(super) consequence: &'static str,
    pub(super) wants_reason: bool,
    pub(super) must_have_reason: bool,
    pub(super) wants_id: bool,
}

impl Ask {
    fn reasons(&self) -> [Reason; 6] {
        Reason::ALL
    }
}

/// The audit.
#[derive(Template)]
#[template(path = "console/audit.html")]
pub(super) struct Audit {
    pub(super) frame: Frame,
    pub(super) records: Vec<AuditView>,
    pub(super) device: String,
    pub(super) kind: String,
    pub(super) next: Option<String>,
    pub(super) is_first: bool,
}

impl Audit {
    fn kinds(&self) -> impl Iterator<Item = &'static str> {
        AuditKind::ALL.iter().map(|kind| kind.name())
    }

    fn is_chosen(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

/// How the gateway is.
#[derive(Template)]
#[template(path = "console/status.html")]
pub(super) struct Status {
    pub(super) frame: Frame,
    pub(super) status: StatusView,
}

/// Why not, for somebody who gets none of our files.
#[derive(Template)]
#[template(path = "console/stranger.html")]
pub(super) struct Stranger<'a> {
    pub(super) title: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) hint: &'a str,
}

/// Why not.
#[derive(Template)]
#[template(path = "console/refused.html")]
pub(super) struct Refused<'a> {
    pub(super) frame: Frame,
    pub(super) error: &'a OperationError,
}

/// `3 days ago`, beside the exact time.
fn ago(time: &Instant) -> String {
    relative(now_unix_secs(), time.0.0)
}

/// A value that may be absent.
fn or_dash<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
}

/// Hostile text as it is shown: what cannot be seen, or changes how its neighbours are seen, stands there by its number.
/// The template escapes what means something in HTML.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_plain(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_unicode());
        }
    }
    shown
}

/// Neither a control character (but for the ends of lines and tabs), nor one that turns the direction of writing (UAX #9),
/// nor one without width.
fn is_plain(letter: char) -> bool {
    match letter {
        '\n' | '\t' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => false,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => false,
        letter => !letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (text, seen) in [
            ("plain, Ünïcödé, \u{5d0} and \u{1f600}\n\tstay", "plain, Ünïcödé, \u{5d0} and \u{1f600}\n\tstay"),
            ("\0\u{1b}[31m\r\u{7f}\u{85}", r"\u{0}\u{1b}[31m\u{d}\u{7f}\u{85}"),
            ("\u{202e}exe.\u{2066}\u{200b}\u{feff}", r"\u{202e}exe.\u{2066}\u{200b}\u{feff}"),
            ("</pre><script>", "</pre><script>"),
        ] {
            assert_eq!(shown(text), seen);
        }
    }

    #[test]
    fn a_page_escapes_what_means_something_in_html() {
        let mut error = OperationError::request("usage.wrong", "</p><script>alert(1)</script>");
        error.hint = Some("\"'><img src=x onerror=alert(1)>".to_owned());
        let page = Refused { frame: Frame::of(None, "<b>"), error: &error }.render().unwrap_or_default();
        assert!(page.contains("alert(1)"), "{page}");
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<b>"), "{page}");
    }
}
