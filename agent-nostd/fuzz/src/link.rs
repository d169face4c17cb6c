//! Where a handshake stands, as the agent's own module of this name has it.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    ServerHello,
    Opening,
    Flight,
    ChainOk,
    Authenticated,
    Established,
}

impl Phase {
    pub(super) const ALL: [Self; 6] =
        [Self::ServerHello, Self::Opening, Self::Flight, Self::ChainOk, Self::Authenticated, Self::Established];
}
