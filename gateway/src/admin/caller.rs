//! Who asks: somebody at the admin socket or in the directory, or an operator with a certificate.

use std::net::SocketAddr;

use muster_protocol::DeviceId;

use crate::audit::Actor;
use crate::registrar::By;
use crate::store::OperatorRole;

/// Who asks, and what they may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    by: By,
    role: OperatorRole,
}

impl Caller {
    /// Somebody who has the gateway's directory: they could do anything to it anyway.
    #[must_use]
    pub const fn local() -> Self {
        Self { by: By { actor: Actor::Local, peer: None }, role: OperatorRole::Admin }
    }

    /// An operator who proved who they are.
    #[must_use]
    pub const fn operator(name: DeviceId, role: OperatorRole, peer: Option<SocketAddr>) -> Self {
        Self { by: By { actor: Actor::Operator(name), peer }, role }
    }

    /// By whose hand things are done.
    #[must_use]
    pub const fn by(&self) -> &By {
        &self.by
    }

    /// What they may do.
    #[must_use]
    pub const fn role(&self) -> OperatorRole {
        self.role
    }

    /// Their name, if they are an operator.
    #[must_use]
    pub const fn name(&self) -> Option<&DeviceId> {
        match &self.by.actor {
            Actor::Operator(name) => Some(name),
            _ => None,
        }
    }
}
