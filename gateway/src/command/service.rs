//! `service issue|list|remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_protocol::{DeviceId, Identity};
use muster_terminal::{Column, Confirmation, Failure, Listing, Output};
use serde_json::json;

use super::identity::{Draft, fleet};
use super::table::{fill, json_of, record, time};
use super::{Place, name};
use crate::admin::NewService;
use crate::admin::request::Request;
use crate::admin::view::{IssuedView, Removed, Rows, ServiceView};

#[derive(Debug, Subcommand)]
pub(super) enum Service {
    /// Issue a certificate to a back-end service and write its rights; its key is made here
    Issue(Issue),
    /// List the services and their rights
    List(List),
    /// Remove a service: its certificates are withdrawn, its session is cut
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(super) struct Issue {
    #[command(flatten)]
    place: Place,
    /// Its name, and its MQTT client id
    #[arg(value_parser = name)]
    name: DeviceId,
    /// Topic filters it may publish to
    #[arg(long, value_name = "FILTER", num_args = 1..)]
    publish: Vec<String>,
    /// Topic filters it may subscribe to
    #[arg(long, value_name = "FILTER", num_args = 1..)]
    subscribe: Vec<String>,
    /// Let it connect under any client id, not its name alone
    #[arg(long)]
    any_client_id: bool,
    /// Where NAME.crt and NAME.key are written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    place: Place,
    /// Which service
    #[arg(value_parser = name)]
    name: DeviceId,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Service {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.act(output),
            Self::List(List { place }) => {
                let rows: Rows<ServiceView> = place.open()?.ask(Request::ServiceList)?;
                let mut listing = Listing::new([
                    Column::text("name", "SERVICE"),
                    Column::text("publish", "MAY PUBLISH"),
                    Column::text("subscribe", "MAY SUBSCRIBE"),
                    Column::text("any_client_id", "ANY CLIENT ID"),
                    Column::time("updated_at", "WRITTEN"),
                ])
                .when_empty("there are no services; issue one with service issue");
                fill(&mut listing, &rows.items, &["updated_at"])?;
                listing.print(output)
            }
            Self::Remove(Remove { place, name, confirmation }) => {
                output.confirm(&format!("Remove the service {name} and withdraw its certificates."), confirmation)?;
                let removed: Removed = place.open()?.ask(Request::ServiceRemove { name: name.clone() })?;
                record(output, &removed, || format!("{name}: removed"))
            }
        }
    }
}

impl Issue {
    fn act(self, output: &Output) -> Result<(), Failure> {
        let mut client = self.place.open()?;
        let identity = Identity::Service { fleet: fleet(&mut client)?, name: self.name.clone() };
        let draft = Draft::make(&self.out, &identity)?;
        let new = NewService {
            name: self.name,
            publish: self.publish,
            subscribe: self.subscribe,
            any_client_id: self.any_client_id,
            request: draft.request.clone(),
        };
        draft.write_key()?;
        let issued: IssuedView = client.ask(Request::ServiceIssue(new)).inspect_err(|_| draft.discard())?;
        let files = draft.finish(&issued, None)?;
        let mut answer = json_of(&issued)?;
        answer["files"] = json!({
            "certificate": files.certificate, "key": files.key, "gateway_ca": files.gateway_ca,
        });
        output.record(answer, || {
            format!(
                "{}: certificate {} until {}\n  {}\n  {}\n  {}",
                issued.name,
                issued.serial,
                time(issued.not_after),
                files.certificate.display(),
                files.key.display(),
                files.gateway_ca.display(),
            )
        })
    }
}
