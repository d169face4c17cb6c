//! What becomes of a connection whose handshake is done: an MQTT session or HTTPS requests.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use super::listener::Slot;
use crate::config::Config;
use crate::fleet::{Door, OperatorConnections};
use crate::https;
use crate::mqtt;
use crate::tls::{Established, HandshakeRecord};

/// Serves one connection to its end.
type Served = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// MQTT: a session, behind the door that knows what this connection's handshake proved.
pub(super) fn serve_mqtt(
    fleet: Arc<Fleet>,
    config: Arc<ArcSwap<Config>>,
) -> impl Fn(Established<TcpStream>, HandshakeRecord, Slot) -> Served + Clone + Send + Sync + 'static {
    move |established, record, slot| {
        let (fleet, config) = (Arc::clone(&fleet), config.load_full());
        Box::pin(async move {
            let _slot = slot;
            // A client without a certificate does not get through a handshake that demands one.
            let Some(client) = established.client else { return };
            // On the heap, so that the stream is not kept twice in the task.
            let stream: Box<TlsStream<TcpStream>> = Box::new(established.stream);
            let router = Arc::clone(fleet.live().router());
            let door = Arc::new(Door::new(fleet, client, record));
            let end = mqtt::serve(stream, (), Arc::clone(&door), router, &config.mqtt.limits).await;
            door.closed(end);
        })
    }
}

/// HTTPS: requests, for as long as the operator's certificate and the session bound allow.
pub(super) fn serve_https(
    app: axum::Router,
    fleet: Arc<Fleet>,
    operators: Arc<OperatorConnections>,
    config: Arc<ArcSwap<Config>>,
    closing: CancellationToken,
) -> impl Fn(Established<TcpStream>, HandshakeRecord, Slot) -> Served + Clone + Send + Sync + 'static {
    move |established, record, slot| {
        let (app, operators, stop) = (app.clone(), Arc::clone(&operators), closing.clone());
        let (fleet, config) = (Arc::clone(&fleet), config.load_full());
        Box::pin(async move {
            let _slot = slot;
            let mut age_max = config.connections.session_max;
            if let Some(client) = &established.client {
                fleet.trail().record(record.acceptance());
                let left_secs = client.not_after().secs_since(fleet.registrars().clock().now());
                age_max = age_max.min(Duration::from_secs(left_secs));
            }
            drop(fleet);
            let connection = https::Connection {
                app,
                client: established.client,
                peer: record.peer,
                header_deadline: config.https.header_deadline,
                age_max,
                operators: &operators,
                stop,
            };
            connection.serve(established.stream).await;
        })
    }
}
