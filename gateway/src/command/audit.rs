//! `audit tail|verify`.

use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use muster_protocol::DeviceId;
use muster_terminal::{Failure, Format, Output};
use serde_json::json;

use super::device::line;
use super::table::{json_of, record};
use super::{Place, name};
use crate::admin::AuditFilter;
use crate::admin::client::Client;
use crate::admin::request::Request;
use crate::admin::view::{AuditVerified, AuditView, Rows};
use crate::audit::Kinds;

/// How often a follower looks for new records.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show the last records, the newest at the end
    Tail(Tail),
    /// Check that no record was changed, removed or put in
    Verify(Verify),
}

#[derive(Args, Debug)]
pub(super) struct Tail {
    #[command(flatten)]
    place: Place,
    /// Only records about this device
    #[arg(long, value_name = "DEVICE", value_parser = name)]
    device: Option<DeviceId>,
    /// Only records of these kinds: names, or what stands before the dot; repeat it or put commas
    #[arg(long, value_name = "KIND")]
    kind: Vec<Kinds>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on with new ones as they come; with --json one object a line
    #[arg(long)]
    follow: bool,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Place,
}

impl Audit {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Tail(tail) => tail.act(output),
            Self::Verify(Verify { place }) => {
                let verified: AuditVerified = place.open()?.ask(Request::AuditVerify)?;
                record(output, &verified, || {
                    format!("{} records hold; the last link is {}", verified.records, verified.hash)
                })
            }
        }
    }
}

impl Tail {
    fn act(self, output: &Output) -> Result<(), Failure> {
        let mut client = self.place.open()?;
        if self.follow && !client.is_running() {
            return Err(Failure::refused("gateway.stopped", "the gateway is stopped: nothing new will come")
                .hint("leave --follow out, or start the gateway"));
        }
        let filter = AuditFilter { limit: Some(self.limit), ..self.filter() };
        let mut rows: Rows<AuditView> = client.ask(Request::Audit(filter))?;
        rows.items.reverse();
        if self.follow {
            return self.follow(output, &mut client, rows.items);
        }
        rows.next = None;
        if output.format() == Format::Json {
            return output.data(json_of(&rows)?);
        }
        if rows.items.is_empty() {
            output.note("nothing was recorded yet");
        }
        rows.items.iter().try_for_each(|record| show(output, record))
    }

    fn filter(&self) -> AuditFilter {
        let kind = self.kind.iter().fold(Kinds::default(), Kinds::and);
        AuditFilter { device: self.device.clone(), kind, ..AuditFilter::default() }
    }

    fn follow(&self, output: &Output, client: &mut Client, mut records: Vec<AuditView>) -> Result<(), Failure> {
        let mut last = 0;
        loop {
            for record in &records {
                show(output, record)?;
                last = record.seq;
            }
            if records.is_empty() {
                thread::sleep(FOLLOW_EVERY);
            }
            let filter = AuditFilter { after: Some(last), ..self.filter() };
            records = client.ask::<Rows<AuditView>>(Request::Audit(filter))?.items;
        }
    }
}

fn show(output: &Output, record: &AuditView) -> Result<(), Failure> {
    if output.format() == Format::Json {
        let mut object = json_of(record)?;
        object["v"] = json!(1);
        return output.data(object);
    }
    let device = record.device.as_ref().map_or("-", DeviceId::as_str);
    output.data(format_args!("{:>6}  {device:<20} {}", record.seq, line(record)))
}
