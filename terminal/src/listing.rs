//! Rows of one kind: an aligned table for people, the same rows as `{"v":1,"items":[…]}` for scripts.
//!
//! A row is a JSON object. Scripts get every field; people get the columns. Fields are only ever added.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::{Format, Output, Stream, Tone, printable, versioned};
use crate::time;

/// One column of the table, showing one field of the rows.
#[derive(Clone, Debug)]
pub struct Column {
    field: &'static str,
    header: &'static str,
    kind: Kind,
}

impl Column {
    /// A field shown as it is; numbers to the right, lists joined by spaces, absent and null as `-`.
    pub const fn text(field: &'static str, header: &'static str) -> Column {
        Column { field, header, kind: Kind::Text }
    }

    /// A field that rows hold as seconds since 1970: RFC 3339 in JSON, exact and relative for people.
    pub const fn time(field: &'static str, header: &'static str) -> Column {
        Column { field, header, kind: Kind::Time }
    }
}

/// Rows to be listed.
#[derive(Clone, Debug)]
pub struct Listing {
    columns: Vec<Column>,
    rows: Vec<Value>,
    beside: Map<String, Value>,
    when_empty: String,
}

impl Listing {
    /// An empty listing with these columns, in the order people see them.
    pub fn new(columns: impl Into<Vec<Column>>) -> Listing {
        Listing {
            columns: columns.into(),
            rows: Vec::new(),
            beside: Map::new(),
            when_empty: "nothing to list".to_owned(),
        }
    }

    /// What a person is told when there are no rows.
    #[must_use]
    pub fn when_empty(mut self, text: impl Into<String>) -> Listing {
        self.when_empty = text.into();
        self
    }

    /// Adds a row, a JSON object.
    pub fn push(&mut self, row: Value) {
        self.rows.push(row);
    }

    /// Adds a field beside `items`, as `total` or `next`; scripts only.
    pub fn beside(&mut self, field: &str, value: Value) {
        self.beside.insert(field.to_owned(), value);
    }

    /// Prints the listing to stdout.
    pub fn print(&self, output: &Output) -> Result<(), Failure> {
        if output.format() == Format::Json {
            return output.data(self.to_json());
        }
        if self.rows.is_empty() {
            output.note(&self.when_empty);
            return Ok(());
        }
        for (index, line) in self.lines(time::now_unix_secs()).iter().enumerate() {
            match index {
                0 => output.data(output.toned(Stream::Stdout, Tone::Strong, line))?,
                _ => output.data(line)?,
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let mut items = self.rows.clone();
        for row in &mut items {
            for column in self.columns.iter().filter(|column| column.kind == Kind::Time) {
                if let Some(secs) = row.get(column.field).and_then(Value::as_u64) {
                    row[column.field] = json!(time::rfc3339(secs));
                }
            }
        }
        let mut object = self.beside.clone();
        object.insert("items".to_owned(), Value::Array(items));
        versioned(Value::Object(object))
    }

    /// The header and one line a row, columns two spaces apart, no spaces at a line's end.
    fn lines(&self, now_unix_secs: u64) -> Vec<String> {
        let header = self.columns.iter().map(|column| column.header.to_owned()).collect::<Vec<_>>();
        let cells = self.rows.iter().map(|row| {
            self.columns.iter().map(|column| column.cell(row.get(column.field), now_unix_secs)).collect::<Vec<_>>()
        });
        let table: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| table.iter().map(|line| line[index].chars().count()).max().unwrap_or(0))
            .collect();
        let to_the_right: Vec<bool> = self.columns.iter().map(|column| self.is_numeric(column)).collect();
        table
            .iter()
            .map(|line| {
                let padded = line.iter().zip(&widths).zip(&to_the_right).map(|((cell, width), right)| match right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
                padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            })
            .collect()
    }

    fn is_numeric(&self, column: &Column) -> bool {
        let mut values = self.rows.iter().filter_map(|row| row.get(column.field)).filter(|value| !value.is_null());
        column.kind == Kind::Text && values.clone().next().is_some() && values.all(Value::is_number)
    }
}

impl Column {
    fn cell(&self, value: Option<&Value>, now_unix_secs: u64) -> String {
        match (self.kind, value) {
            (_, None | Some(Value::Null)) => "-".to_owned(),
            (Kind::Time, Some(Value::Number(secs))) => {
                time::exact_and_relative(now_unix_secs, secs.as_u64().unwrap_or(0))
            }
            (_, Some(Value::String(text))) => printable(text).replace('\n', " "),
            (_, Some(Value::Bool(true))) => "yes".to_owned(),
            (_, Some(Value::Bool(false))) => "no".to_owned(),
            (_, Some(Value::Array(values))) => {
                values.iter().map(|value| self.cell(Some(value), now_unix_secs)).collect::<Vec<_>>().join(" ")
            }
            (_, Some(other)) => other.to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Text,
    Time,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::output::tests::captured;

    fn devices() -> Listing {
        let columns =
            [Column::text("id", "DEVICE"), Column::text("certificates", "CERTS"), Column::time("seen", "SEEN")];
        let mut listing = Listing::new(columns).when_empty("no devices yet");
        listing.push(json!({ "id": "pump-1", "certificates": 2, "seen": 1_700_000_000, "lot": "A" }));
        listing.push(json!({ "id": "p\u{1b}[1m\n2", "certificates": 11, "seen": null }));
        listing
    }

    #[test]
    fn aligns_for_people() {
        assert_eq!(
            devices().lines(1_700_000_060),
            [
                "DEVICE        CERTS  SEEN",
                "pump-1            2  2023-11-14 22:13:20Z (1 minute ago)",
                "p\\u{1b}[1m 2     11  -"
            ]
        );
    }

    #[test]
    fn gives_scripts_every_field_and_exact_times() {
        let (output, out, _) = captured(Format::Json);
        let mut listing = devices();
        listing.beside("total", json!(2));
        listing.print(&output).unwrap();
        let answer: Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!((&answer["v"], &answer["total"]), (&json!(1), &json!(2)));
        assert_eq!(answer["items"][0]["seen"], "2023-11-14T22:13:20Z");
        assert_eq!(answer["items"][0]["lot"], "A");
    }

    #[test]
    fn an_empty_listing_is_still_an_answer() {
        let empty = Listing::new([Column::text("id", "DEVICE")]).when_empty("no devices yet");
        let (output, out, err) = captured(Format::Text);
        empty.print(&output).unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", "no devices yet\n"));
        let (output, out, _) = captured(Format::Json);
        empty.print(&output).unwrap();
        assert_eq!(out.text(), "{\"items\":[],\"v\":1}\n");
    }
}
