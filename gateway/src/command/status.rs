//! `status`.

use std::fmt::Write as _;

use clap::Args;
use muster_terminal::{Failure, Output, Stream, Tone, printable};

use super::Place;
use super::table::{record, time};
use crate::admin::request::Request;
use crate::admin::view::StatusView;

/// A certificate that expires sooner is pointed at.
const SOON_SECS: i64 = 14 * 86_400;

#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    place: Place,
}

impl Status {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        let status: StatusView = self.place.open()?.ask(Request::Status)?;
        record(output, &status, || said(output, &status))?;
        for certificate in &status.certificates {
            let name = &certificate.name;
            match certificate.expires_in_secs {
                ..0 => output.warning(format_args!("the certificate {name} has expired")),
                0..SOON_SECS => output.warning(format_args!("the certificate {name} expires soon")),
                _ => {}
            }
        }
        match &status.store.trouble {
            Some(trouble) => Err(Failure::failed("store.unhealthy", format!("the store does not answer: {trouble}"))
                .hint("see the gateway's log")),
            None => Ok(()),
        }
    }
}

fn said(output: &Output, status: &StatusView) -> String {
    let state = match status.running_since {
        Some(since) => output.toned(Stream::Stdout, Tone::Good, &format!("running since {}", time(since))),
        None => output.toned(Stream::Stdout, Tone::Warning, "stopped"),
    };
    let mut text = format!("muster-gateway {}, fleet {}: {state}", status.version, status.fleet);
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "\n  {name:<14}{}", printable(value));
    };
    for (name, address) in [("MQTT", status.mqtt), ("HTTPS", status.https)] {
        if let Some(address) = address {
            field(name, &address.to_string());
        }
    }
    field("trust bundle", &format!("number {}", status.bundle));
    if let Some(sessions) = status.sessions {
        field("sessions", &format!("{} devices, {} services", sessions.devices, sessions.services));
    }
    let standings = status.devices.iter().filter(|(_, count)| **count > 0);
    let standings: Vec<_> = standings.map(|(standing, count)| format!("{count} {standing}")).collect();
    let devices = match standings.is_empty() {
        true => status.devices_total.to_string(),
        false => format!("{} ({})", status.devices_total, standings.join(", ")),
    };
    field("devices", &devices);
    if let Some(records) = status.store.audit_records {
        field("audit", &format!("{records} records"));
    }
    for certificate in &status.certificates {
        field(&certificate.name, &format!("expires {}", time(certificate.not_after)));
    }
    text
}
