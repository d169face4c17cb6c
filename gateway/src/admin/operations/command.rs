//! Commands to a device's own program. The gateway carries them and does not know what they mean.

use std::time::Duration;

use muster_protocol::DeviceId;
use muster_protocol::limits::{ARGUMENT_BYTES_MAX, COMMAND_NAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::device::unknown;
use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::{Blame, OperationError};
use crate::admin::view::CommandView;
use crate::audit::AuditKind;
use crate::registrar::CommandRefused;
use crate::store::{Change, OperatorRole, Store};

/// Longest time that an answer is waited for.
pub const COMMAND_WAIT_SECS_MAX: u64 = 60;

/// A command to a device's program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// What: 1 to 32 bytes.
    pub name: String,
    /// With what, as text; at most 512 bytes.
    #[serde(default)]
    pub argument: String,
    /// How long its answer is waited for; at most a minute.
    #[serde(default = "wait_secs")]
    pub wait_secs: u64,
}

/// How long an answer is waited for unless somebody says otherwise.
const fn wait_secs() -> u64 {
    10
}

impl<S: Store> Operations<S> {
    /// Sends a command to the device, which has to be connected, and waits for its answer.
    ///
    /// # Errors
    /// When the command is none, the device is unknown or not there, or nobody answers in time. Whether it was carried out is
    /// then not known.
    pub async fn command(&self, caller: &Caller, id: &DeviceId, new: NewCommand) -> OperationResult<CommandView> {
        self.allow(caller, OperatorRole::Operator, "device command").await?;
        check(&new)?;
        self.store().device(id).await?.ok_or_else(|| unknown(id))?;
        let mut event = self
            .event(caller, AuditKind::DeviceCommanded)
            .detail("command", &new.name)
            .detail("argument_bytes", new.argument.len());
        event.device = Some(id.clone());
        // Before it is sent: what an operator had a device do is never without a record.
        self.apply(vec![Change::Audit(Box::new(event))]).await?;
        let sent = self.registrars.sessions().command(id, &new.name, new.argument.as_bytes());
        let outcome = sent.map_err(|refused| not_sent(id, refused))?;
        match timeout(Duration::from_secs(new.wait_secs), outcome).await {
            Ok(Ok(outcome)) => Ok(CommandView::new(id, new.name, outcome)),
            Ok(Err(_)) => Err(unanswered(format!("{id} went away before it answered"))),
            Err(_) => Err(unanswered(format!("{id} did not answer within {} s", new.wait_secs))),
        }
    }
}

fn check(new: &NewCommand) -> OperationResult<()> {
    let refuse = |why: String| Err(OperationError::request("usage.wrong", why));
    let is_name = !new.name.is_empty() && new.name.len() <= COMMAND_NAME_BYTES_MAX;
    if !is_name || new.name.chars().any(char::is_control) {
        return refuse(format!(
            "the name of a command has 1 to {COMMAND_NAME_BYTES_MAX} bytes and no control characters"
        ));
    }
    if new.argument.len() > ARGUMENT_BYTES_MAX {
        return refuse(format!(
            "an argument of {} bytes is too long: {ARGUMENT_BYTES_MAX} at most",
            new.argument.len()
        ));
    }
    if !(1..=COMMAND_WAIT_SECS_MAX).contains(&new.wait_secs) {
        return refuse(format!("an answer is waited for 1 to {COMMAND_WAIT_SECS_MAX} seconds"));
    }
    Ok(())
}

fn not_sent(id: &DeviceId, refused: CommandRefused) -> OperationError {
    match refused {
        CommandRefused::Offline => {
            OperationError::new(Blame::Rule, "device.offline", format!("{id} is not connected; nothing was sent"))
                .hint("commands are not kept for later; see device show for when it was last seen")
        }
        CommandRefused::NotListening => OperationError::new(
            Blame::Rule,
            "command.not_heard",
            format!("{id} is connected, and its program takes no commands; nothing was sent"),
        )
        .hint("a program takes commands when it subscribes to devices/DEVICE/command"),
        CommandRefused::Busy => OperationError::new(
            Blame::Gateway,
            "command.busy",
            format!("too many commands are under way; {id} got none"),
        )
        .hint("try again in a moment"),
        CommandRefused::TooLong => OperationError::request("usage.wrong", "the command is too long"),
    }
}

fn unanswered(message: String) -> OperationError {
    OperationError::new(Blame::Gateway, "command.unanswered", message)
        .hint("whether it was carried out is not known; ask the device before you repeat it")
}
