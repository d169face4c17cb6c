//! One attempt to connect: the gateways in order, each by TCP, TLS, MQTT and the first subscription.

use std::time::Duration;

use muster_protocol::Code;
use muster_protocol::device::Failure;
use muster_protocol::pki::VerifiedGateway;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

use super::records::Gateway;
use crate::mqtt::{MqttError, Options, Session};
use crate::tls::{self, ClientCredential, Expected, TlsError};

/// Everything that an attempt needs, so that it can run beside the loop.
pub(super) struct Dial {
    pub(super) gateways: Vec<Gateway>,
    /// Whom to expect; the host is set for each gateway.
    pub(super) expected: Expected,
    pub(super) credential: ClientCredential,
    pub(super) session: Options,
    /// For the whole attempt.
    pub(super) patience: Duration,
    /// The session before, which is saying goodbye: one device has one session.
    pub(super) closing: Option<JoinHandle<()>>,
}

/// An attempt that came about.
pub(super) struct Dialled {
    pub(super) session: Session,
    pub(super) evidence: VerifiedGateway,
    pub(super) gateway: Gateway,
}

impl Dial {
    /// The first gateway that takes us. A refusal is an answer and ends the attempt; an unreachable or untrusted
    /// gateway does not keep us from the next one.
    pub(super) async fn run(mut self) -> Result<Dialled, Failure> {
        if let Some(closing) = self.closing.take() {
            let _ = timeout(GOODBYE_MAX, closing).await;
        }
        let each = self.patience / u32::try_from(self.gateways.len().max(1)).unwrap_or(1);
        let mut worst = Failure::Unreachable;
        for gateway in std::mem::take(&mut self.gateways) {
            match timeout(each, self.reach(&gateway)).await.unwrap_or(Err(Failure::Unreachable)) {
                Ok((session, evidence)) => return Ok(Dialled { session, evidence, gateway }),
                Err(failure @ Failure::Refused(_)) => return Err(failure),
                Err(failure @ Failure::GatewayUntrusted(_)) => worst = failure,
                Err(Failure::Unreachable) => {}
            }
        }
        Err(worst)
    }

    async fn reach(&self, gateway: &Gateway) -> Result<(Session, VerifiedGateway), Failure> {
        let Gateway { host, mqtt_port, .. } = gateway;
        let tcp = TcpStream::connect((host.as_str(), *mqtt_port)).await.map_err(|error| {
            debug!(event = "dial.unreachable", host, port = mqtt_port, error = %error);
            Failure::Unreachable
        })?;
        let _ = tcp.set_nodelay(true);
        let expected = Expected { host: host.clone(), ..self.expected.clone() };
        let (stream, evidence) = tls::connect(tcp, &expected, &self.credential).await.map_err(|error| {
            debug!(event = "dial.tls_failed", host, port = mqtt_port, error = %error);
            match error {
                TlsError::GatewayUntrusted(code) => Failure::GatewayUntrusted(code),
                TlsError::Refused(code) => Failure::Refused(code),
                TlsError::Io(_) => Failure::Unreachable,
            }
        })?;
        let session = Session::open(stream, &self.session).await.map_err(|error| failure_of(&error))?;
        Ok((session, evidence))
    }
}

/// What the end of a session means. TLS refuses a client only after the client's own handshake, so a refusal may come
/// as an alert from the open stream.
pub(super) fn failure_of(error: &MqttError) -> Failure {
    match error {
        MqttError::Refused(code) => Failure::Refused(*code),
        MqttError::Io(error) => tls::refusal(error).map_or(Failure::Unreachable, Failure::Refused),
        MqttError::Protocol(what) => {
            debug!(event = "session.protocol_broken", what);
            Failure::Refused(Code::SessionProtocol)
        }
        MqttError::Silent => Failure::Unreachable,
    }
}

/// How long the goodbye of the session before may hold up the next one.
const GOODBYE_MAX: Duration = Duration::from_millis(500);
