//! Answers as tables: rows of the API, their times made readable.

use muster_terminal::{Failure, Listing, Output};
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::Instant;

/// Puts rows into a listing. The fields in `times` are RFC 3339 in the API; a listing takes seconds.
pub(super) fn fill<T: Serialize>(listing: &mut Listing, rows: &[T], times: &[&str]) -> Result<(), Failure> {
    for row in rows {
        let mut row = serde_json::to_value(row)
            .map_err(|error| Failure::from_error("output.failed", "cannot show the answer", &error))?;
        for time in times {
            if let Some(field) = row.get_mut(time)
                && let Ok(instant) = serde_json::from_value::<Instant>(field.clone())
            {
                *field = json!(instant.0.0);
            }
        }
        listing.push(row);
    }
    Ok(())
}

/// An answer as a JSON value, as the API gives it.
pub(super) fn json_of<T: Serialize>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::from_error("output.failed", "cannot show the answer", &error))
}

/// Answers with one thing.
pub(super) fn record<T: Serialize>(output: &Output, answer: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
    output.record(json_of(answer)?, text)
}

/// `2026-01-31 09:05:00Z (3 days ago)`.
pub(super) fn time(instant: Instant) -> String {
    muster_terminal::time::exact_and_relative(muster_terminal::time::now_unix_secs(), instant.0.0)
}

/// The same, or a dash.
pub(super) fn time_or_dash(instant: Option<Instant>) -> String {
    instant.map_or_else(|| "-".to_owned(), time)
}
