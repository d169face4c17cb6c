//! `operator issue|list|remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_protocol::{DeviceId, Identity};
use muster_terminal::{Column, Confirmation, Failure, Listing, Output, PasswordFile};
use serde_json::json;

use super::identity::{Draft, fleet};
use super::table::{fill, json_of, record, time};
use super::{Place, name};
use crate::admin::NewOperator;
use crate::admin::request::Request;
use crate::admin::view::{IssuedView, OperatorView, Removed, Rows};
use crate::store::OperatorRole;

#[derive(Debug, Subcommand)]
pub(super) enum Operator {
    /// Issue a certificate to an operator; the key is made here, an earlier certificate is withdrawn
    Issue(Issue),
    /// List the operators and their roles
    List(List),
    /// Remove an operator: the certificate is withdrawn
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(super) struct Issue {
    #[command(flatten)]
    place: Place,
    /// Who
    #[arg(value_parser = name)]
    name: DeviceId,
    /// What they may do: viewer reads, operator acts on devices, admin does everything
    #[arg(long, value_parser = role)]
    role: OperatorRole,
    /// Where NAME.crt and NAME.key are written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write NAME.p12 for a browser too; its password is read from FILE, which only its owner may read
    #[arg(long, value_name = "FILE")]
    pkcs12_password_file: Option<PathBuf>,
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
    /// Who
    #[arg(value_parser = name)]
    name: DeviceId,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Operator {
    pub(super) fn act(self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.act(output),
            Self::List(List { place }) => {
                let rows: Rows<OperatorView> = place.open()?.ask(Request::OperatorList)?;
                let mut listing = Listing::new([
                    Column::text("name", "OPERATOR"),
                    Column::text("role", "ROLE"),
                    Column::time("expires_at", "EXPIRES"),
                    Column::time("updated_at", "WRITTEN"),
                    Column::text("serial", "CERTIFICATE"),
                ])
                .when_empty("there are no operators; issue one with operator issue");
                fill(&mut listing, &rows.items, &["expires_at", "updated_at"])?;
                listing.print(output)
            }
            Self::Remove(Remove { place, name, confirmation }) => {
                output.confirm(&format!("Remove the operator {name} and withdraw the certificate."), confirmation)?;
                let removed: Removed = place.open()?.ask(Request::OperatorRemove { name: name.clone() })?;
                record(output, &removed, || format!("{name}: removed"))
            }
        }
    }
}

impl Issue {
    fn act(self, output: &Output) -> Result<(), Failure> {
        // Whatever can be wrong with the password is found before anything is issued.
        let password = match self.pkcs12_password_file {
            Some(path) => {
                let file = PasswordFile { password_file: Some(path) };
                Some(file.new_password(output, "the PKCS#12 file")?)
            }
            None => None,
        };
        let mut client = self.place.open()?;
        let identity = Identity::Operator { fleet: fleet(&mut client)?, name: self.name.clone() };
        let draft = Draft::make(&self.out, &identity)?;
        let role = self.role.name().to_owned();
        let new = NewOperator { name: self.name, role, request: draft.request.clone() };
        draft.write_key()?;
        let issued: IssuedView = client.ask(Request::OperatorIssue(new)).inspect_err(|_| draft.discard())?;
        let files = draft.finish(&issued, password.as_ref())?;
        let mut answer = json_of(&issued)?;
        answer["role"] = json!(self.role.name());
        answer["files"] = json!({
            "certificate": files.certificate, "key": files.key, "gateway_ca": files.gateway_ca,
            "pkcs12": files.pkcs12,
        });
        output.record(answer, || {
            let mut text = format!(
                "{}: {}, certificate {} until {}\n  {}\n  {}\n  {}",
                issued.name,
                self.role.name(),
                issued.serial,
                time(issued.not_after),
                files.certificate.display(),
                files.key.display(),
                files.gateway_ca.display(),
            );
            if let Some(pkcs12) = &files.pkcs12 {
                text.push_str(&format!("\n  {}", pkcs12.display()));
            }
            text
        })
    }
}

fn role(text: &str) -> Result<OperatorRole, String> {
    OperatorRole::from_name(text).ok_or_else(|| "the roles are viewer, operator and admin".to_owned())
}
