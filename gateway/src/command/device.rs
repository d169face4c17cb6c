//! `device list|show|expiry|rotate|suspend|resume|revoke|retire|command`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use muster_protocol::DeviceId;
use muster_protocol::registrar::{Reason, Standing};
use muster_terminal::{Column, Confirmation, Failure, Format, Listing, Output, printable};
use serde_json::json;

use super::table::{fill, record, time, time_or_dash};
use super::{Place, name, reason};
use crate::admin::request::Request;
use crate::admin::view::{
    Acted, AuditView, CommandStanding, CommandView, DeviceDetails, DeviceRow, ExpiryView, Rows, TooLongView,
};
use crate::admin::{COMMAND_WAIT_SECS_MAX, DeviceFilter, NewCommand};

#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// List devices, in the order of their ids
    List(List),
    /// Show everything about one device
    Show(One),
    /// Count the devices whose certificates expire within days, weeks, months
    Expiry(Expiry),
    /// Have a device make a new key and certificate
    Rotate(One),
    /// Keep a device out for now; its session is cut
    Suspend(Suspend),
    /// Let a suspended device in again, or a revoked one enrol anew
    Resume(One),
    /// Withdraw a device's certificates and keep it out, enrolment included; its session is cut
    Revoke(Revoke),
    /// Keep a device out for good; its session is cut
    Retire(Retire),
    /// Send a command to a device's own program, and wait for its answer
    Command(Tell),
}

#[derive(Args, Debug)]
pub(super) struct Tell {
    #[command(flatten)]
    one: One,
    /// What: a name that the device's program knows
    #[arg(value_name = "COMMAND")]
    name: String,
    /// With what: text that the program knows how to read
    #[arg(default_value = "")]
    argument: String,
    /// How long its answer is waited for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=COMMAND_WAIT_SECS_MAX))]
    wait: u64,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// Part of the id, or the beginning of the product or lot
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only devices that stand there: expected, claimed, enrolling, active, rotating, suspended, revoked, retired
    #[arg(long, value_parser = standing)]
    standing: Option<Standing>,
    /// Only devices behind this id: the next page
    #[arg(long, value_name = "DEVICE", value_parser = name)]
    after: Option<DeviceId>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

#[derive(Args, Debug)]
pub(super) struct Expiry {
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    place: Place,
    /// Which device
    #[arg(value_parser = name)]
    device: DeviceId,
}

#[derive(Args, Debug)]
pub(super) struct Suspend {
    #[command(flatten)]
    one: One,
    /// Why: unspecified, key_compromise, affiliation_changed, superseded, cessation_of_operation, privilege_withdrawn
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
}

#[derive(Args, Debug)]
pub(super) struct Revoke {
    #[command(flatten)]
    one: One,
    /// Why: unspecified, key_compromise, affiliation_changed, superseded, cessation_of_operation, privilege_withdrawn
    #[arg(long, value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args, Debug)]
pub(super) struct Retire {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Device {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.act(output),
            Self::Show(one) => show(&one, output),
            Self::Expiry(expiry) => expiry.act(output),
            Self::Command(tell) => tell.act(output),
            Self::Rotate(one) => one.ask(output, |device| Request::DeviceRotate { device }, "rotation ordered"),
            Self::Suspend(Suspend { one, reason }) => {
                one.ask(output, |device| Request::DeviceSuspend { device, reason }, "suspended")
            }
            Self::Resume(one) => one.ask(output, |device| Request::DeviceResume { device }, "resumed"),
            Self::Revoke(Revoke { one, reason, confirmation }) => {
                let what = format!("Revoke {}: withdraw its certificates and keep it out.", one.device);
                output.confirm(&what, confirmation)?;
                one.ask(output, |device| Request::DeviceRevoke { device, reason }, "revoked")
            }
            Self::Retire(Retire { one, confirmation }) => {
                output.confirm(&format!("Retire {} for good.", one.device), confirmation)?;
                one.ask(output, |device| Request::DeviceRetire { device }, "retired")
            }
        }
    }
}

impl Tell {
    fn act(self, output: &Output) -> Result<(), Failure> {
        let Tell { one: One { place, device }, name, argument, wait } = self;
        let command = NewCommand { name, argument, wait_secs: wait };
        let done: CommandView = place.open()?.ask(Request::DeviceCommand { device, command })?;
        let (device, command) = (&done.device, printable(&done.command));
        let result = printable(&done.result).replace('\n', " ");
        match done.outcome {
            CommandStanding::Done => record(output, &done, || result),
            CommandStanding::Failed => {
                Err(Failure::failed("command.failed", format!("{device}: {command} failed: {result}")))
            }
            CommandStanding::Unknown => {
                Err(Failure::not_found("command.unknown", format!("{device} knows no command {command}"))
                    .hint("the commands are those of the program in the device's firmware"))
            }
        }
    }
}

impl List {
    fn act(self, output: &Output) -> Result<(), Failure> {
        let filter =
            DeviceFilter { search: self.search, standing: self.standing, after: self.after, limit: Some(self.limit) };
        let page: Rows<DeviceRow> = self.place.open()?.ask(Request::DeviceList(filter))?;
        let mut listing = Listing::new([
            Column::text("id", "DEVICE"),
            Column::text("standing", "STANDING"),
            Column::text("online", "ONLINE"),
            Column::text("product", "PRODUCT"),
            Column::text("lot", "LOT"),
            Column::time("expires_at", "EXPIRES"),
            Column::time("last_seen_at", "LAST SEEN"),
        ])
        .when_empty("no such devices; they come into the registry with manifest import");
        fill(&mut listing, &page.items, &["expires_at", "last_seen_at"])?;
        if let Some(next) = &page.next {
            listing.beside("next", json!(next));
        }
        listing.print(output)?;
        if let Some(next) = &page.next {
            output.note(format_args!("more: add --after {next}"));
        }
        Ok(())
    }
}

impl Expiry {
    fn act(self, output: &Output) -> Result<(), Failure> {
        let expiry: ExpiryView = self.place.open()?.ask(Request::Expiry)?;
        record(output, &expiry, || {
            let mut text = format!("{:<12}{:>10}", "WITHIN", "DEVICES");
            for interval in &expiry.intervals {
                let _ = write!(text, "\n{:<12}{:>10}", interval.within, interval.devices);
            }
            text
        })
    }
}

impl One {
    fn ask(self, output: &Output, request: impl FnOnce(DeviceId) -> Request, done: &str) -> Result<(), Failure> {
        let acted: Acted = self.place.open()?.ask(request(self.device))?;
        record(output, &acted, || match acted.standing.name() {
            standing if standing == done => format!("{}: {done}", acted.device),
            standing => format!("{}: {done}; it is {standing}", acted.device),
        })
    }
}

fn show(one: &One, output: &Output) -> Result<(), Failure> {
    let device: DeviceDetails = one.place.open()?.ask(Request::DeviceShow { device: one.device.clone() })?;
    record(output, &device, || summary(&device))?;
    if output.format() == Format::Json {
        return Ok(());
    }
    let mut certificates = Listing::new([
        Column::text("serial", "CERTIFICATE"),
        Column::text("part", "PART"),
        Column::text("status", "STATUS"),
        Column::time("not_before", "FROM"),
        Column::time("not_after", "UNTIL"),
        Column::time("withdrawn_at", "WITHDRAWN"),
        Column::text("reason", "REASON"),
    ])
    .when_empty("no certificate was issued to it yet");
    fill(&mut certificates, &device.certificates, &["not_before", "not_after", "withdrawn_at"])?;
    output.data("")?;
    certificates.print(output)?;
    for (title, records) in [("history", &device.history), ("refusals", &device.refusals)] {
        if !records.is_empty() {
            output.data(format_args!("\n{title}, newest first"))?;
            for record in records.iter().take(SHOWN) {
                output.data(format_args!("  {}", line(record)))?;
            }
        }
    }
    Ok(())
}

fn summary(device: &DeviceDetails) -> String {
    let row = &device.row;
    let mut text = format!("{}  {}", row.id, row.standing.name());
    if let Some(reason) = device.reason {
        let _ = write!(text, " ({})", reason.name());
    }
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "\n  {name:<12}{}", printable(value).replace('\n', " "));
    };
    field("product", &row.product);
    field("lot", if row.lot.is_empty() { "-" } else { &row.lot });
    field("IDevID key", &device.idevid.to_string());
    field("registered", &time(row.created_at));
    field("last seen", &time_or_dash(row.last_seen_at));
    if let Some(order) = device.ordered_rotation {
        field("rotation", &format!("order {order}, not done yet"));
    }
    for session in &device.sessions {
        let since = time(session.since);
        field("session", &format!("{} since {since}, {} over MQTT {}", session.peer, session.credential, session.mqtt));
    }
    if let Some(telemetry) = &device.telemetry {
        field("telemetry", &format!("{} at {}", telemetry.text, time(telemetry.at)));
    }
    if let Some(TooLongView { at, bytes, bytes_max }) = device.telemetry_too_long {
        let most = format!("{bytes_max} bytes are kept at most (telemetry.keep_bytes_max)");
        field("not kept", &format!("the last telemetry, {bytes} bytes at {}: {most}", time(at)));
    }
    text
}

/// A record of the audit on one line.
pub(super) fn line(record: &AuditView) -> String {
    let mut text = format!("{}  {:<22} by {}", time(record.at), record.kind, record.actor);
    if let Some(code) = record.code {
        let _ = write!(text, "  {code}");
    }
    if let Some(serial) = &record.serial {
        let _ = write!(text, "  serial={serial}");
    }
    if let Some(peer) = &record.peer {
        let _ = write!(text, "  peer={peer}");
    }
    for (name, value) in &record.details {
        let _ = write!(text, "  {name}={value}");
    }
    printable(&text).replace('\n', " ")
}

fn standing(text: &str) -> Result<Standing, String> {
    let names = Standing::ALL.map(Standing::name).join(", ");
    Standing::from_name(text).ok_or_else(|| format!("the standings are {names}"))
}

/// Records of each kind that a person is shown; scripts get all.
const SHOWN: usize = 20;
