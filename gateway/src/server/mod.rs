//! A running gateway: put together, started, reloaded, drained.
//!
//! | file | one idea |
//! |---|---|
//! | [`listener`] | accept, shake hands, hand on |
//! | `serve` | what becomes of a connection whose handshake is done |
//! | `error` | why it does not start |
//! | this | what a gateway consists of, in which order it starts, and in which it stops |
//!
//! It starts with what cannot be missed (the registry's changes, the factory CAs, a credential that devices accept) and
//! listens last. It stops the other way round: no new connection, a goodbye on every session, then the audit, then the
//! store.

mod error;
pub mod listener;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::socket::AdminSocket;
use crate::admin::{Installation, Operations};
use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::clock::Clock;
use crate::config::Config;
use crate::console;
use crate::directory::{Directory, DirectoryLock};
use crate::fleet::{Follower, LiveSessions, OperatorConnections};
use crate::https;
use crate::issuer::{Authorities, Fleet as FleetFile};
use crate::limit::{StrangerMeter, raise_open_files};
use crate::mqtt;
use crate::registrar::{Context, Registrars, apply_until_known};
use crate::server_certificate::Keeper;
use crate::store::{Change, SqliteStore, Transaction};
use crate::tls::record::Listener;
use crate::tls::{Anchors, ClientVerifier, Demand, Handshake, LiveAnchors, LiveCredential, server_config};
use crate::trail::Trail;

pub use error::StartError;

use listener::{Reception, Slots};
use serve::{serve_https, serve_mqtt};

type Fleet = crate::fleet::Fleet<SqliteStore>;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway's directory.
    pub directory: std::path::PathBuf,
    /// In the place of the setting.
    pub mqtt_listen: Option<SocketAddr>,
    /// In the place of the setting.
    pub https_listen: Option<SocketAddr>,
}

/// A gateway that listens.
pub struct Gateway {
    directory: Directory,
    config: Arc<ArcSwap<Config>>,
    session_max: watch::Sender<Duration>,
    store: SqliteStore,
    fleet: Arc<Fleet>,
    anchors: Arc<LiveAnchors>,
    keeper: Arc<Keeper>,
    operations: Arc<Operations<SqliteStore>>,
    mqtt: (SocketAddr, Arc<Reception>),
    https: (SocketAddr, Arc<Reception>),
    /// Cancelled first: nobody is let in any more.
    closing: CancellationToken,
    /// Cancelled last: nobody is here any more.
    stop: CancellationToken,
    /// Tasks that end with `stop`.
    tasks: Vec<JoinHandle<()>>,
    trail_writer: JoinHandle<()>,
    admin: JoinHandle<()>,
    _lock: DirectoryLock,
}

impl Gateway {
    /// Starts a gateway. When this returns, both listeners accept.
    ///
    /// # Errors
    /// When something is missing without which devices could not be served rightly.
    pub async fn start(options: &Options) -> Result<Self, StartError> {
        let directory = Directory::open(&options.directory)?;
        let lock = directory.lock()?;
        let config = Config::load(&directory)?;
        let authorities = Authorities::load(&directory)?;
        let fleet_file = FleetFile::load(&directory)?;
        let files = raise_open_files((config.mqtt.connections_max + config.https.connections_max) as u64 + FILES_OWN);
        if (files as usize) < config.mqtt.connections_max {
            tracing::warn!(files, "this process may open fewer files than mqtt.connections_max asks for");
        }
        let clock = Clock::system();
        let store = SqliteStore::open(directory.root())?;
        let shared_store = Arc::new(store.clone());

        let anchors = anchors_of(&authorities)?;
        let anchors = Arc::new(LiveAnchors::new(anchors));
        let router = Arc::new(mqtt::Router::new(config.mqtt.queue_kib_max));
        let live = Arc::new(LiveSessions::new(Arc::clone(&router), config.telemetry));
        let operators = Arc::new(OperatorConnections::default());
        let (session_max, session_max_seen) = watch::channel(config.connections.session_max);
        let follower = Follower::start(
            Arc::clone(&shared_store),
            Arc::clone(&live),
            Arc::clone(&operators),
            Arc::clone(&anchors),
            clock.clone(),
            session_max_seen,
        )
        .await?;

        let (trail, trail_writer) = Trail::new(Arc::clone(&shared_store));
        let keeper = Arc::new(Keeper {
            directory: directory.clone(),
            live: Arc::new(LiveCredential::none_yet()),
            clock: clock.clone(),
            trail: trail.clone(),
        });
        keeper.refresh(config.certificates.server_secs)?;

        let context = context_of(&fleet_file, &config);
        let issuer: Arc<dyn crate::issuer::Issuer> = Arc::new(authorities.device.clone());
        let registrars = Arc::new(Registrars::new(Arc::clone(&shared_store), Some(issuer), live.clone(), context));
        let fleet = Arc::new(Fleet::new(Arc::clone(&registrars), live, trail.clone()));

        let mqtt_at = listen(options.mqtt_listen.unwrap_or(config.mqtt.listen), "MQTT").await?;
        let https_at = listen(options.https_listen.unwrap_or(config.https.listen), "HTTPS").await?;
        let (mqtt_address, https_address) = (address_of(&mqtt_at)?, address_of(&https_at)?);

        let installation = Installation {
            device_ca: authorities.device.certificate().to_vec(),
            gateway_ca: authorities.gateway_certificate.clone(),
            operator_ca: authorities.operator.certificate().to_vec(),
            server: Authorities::load(&directory)?.server_certificate,
            running_since: Some(clock.now()),
            mqtt: Some(mqtt_address),
            https: Some(https_address),
        };
        let operations = Arc::new(Operations::new(
            registrars,
            Arc::new(authorities.operator.clone()),
            config.certificates,
            installation,
        ));
        let socket = AdminSocket::bind(&directory.admin_socket()).map_err(|source| StartError::Listen {
            what: format!("the admin socket {}", directory.admin_socket().display()),
            source,
        })?;

        let started = AuditEvent::new(clock.now(), AuditKind::GatewayStarted, Actor::Gateway)
            .detail("version", env!("CARGO_PKG_VERSION"))
            .detail("mqtt", mqtt_address)
            .detail("https", https_address);
        apply_until_known(&store, Transaction::new(vec![Change::Audit(Box::new(started))])).await?;

        let meter = Arc::new(StrangerMeter::default());
        let reception = |kind, demand, alpn: &[&[u8]], connections_max| -> Result<Arc<Reception>, StartError> {
            let verifier = ClientVerifier::new(Arc::clone(&anchors), fleet_file.id.clone(), demand);
            let tls: Arc<ServerConfig> = server_config(Arc::new(verifier), Arc::clone(&keeper.live), alpn)?;
            Ok(Arc::new(Reception {
                handshake: Handshake::new(tls, kind),
                slots: Slots::new(connections_max, config.connections.handshakes_max),
                trail: trail.clone(),
                meter: Arc::clone(&meter),
            }))
        };
        let mqtt = reception(Listener::Mqtt, Demand::Mandatory, &[], config.mqtt.connections_max)?;
        let https = reception(Listener::Https, Demand::Optional, &[b"http/1.1"], config.https.connections_max)?;

        let config = Arc::new(ArcSwap::from_pointee(config));
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let trail_writer = tokio::spawn(trail_writer.run());
        let admin = tokio::spawn(socket.serve(Arc::clone(&operations)));
        let life = Arc::clone(&config);
        let mut tasks = vec![
            tokio::spawn(follower.run(stop.clone())),
            tokio::spawn(Arc::clone(&keeper).run(move || life.load().certificates.server_secs, stop.clone())),
        ];
        let deadline = |config: &Arc<ArcSwap<Config>>| {
            let config = Arc::clone(config);
            move || config.load().connections.handshake_deadline
        };
        tasks.push(tokio::spawn(Arc::clone(&mqtt).accept(
            mqtt_at,
            deadline(&config),
            serve_mqtt(Arc::clone(&fleet), Arc::clone(&config)),
            closing.clone(),
        )));
        let app = https::app(Arc::clone(&operations), Arc::clone(&fleet), console::router(Arc::clone(&operations)));
        tasks.push(tokio::spawn(Arc::clone(&https).accept(
            https_at,
            deadline(&config),
            serve_https(app, Arc::clone(&fleet), operators, Arc::clone(&config), closing.clone()),
            closing.clone(),
        )));
        Ok(Self {
            directory,
            config,
            session_max,
            store,
            fleet,
            anchors,
            keeper,
            operations,
            mqtt: (mqtt_address, mqtt),
            https: (https_address, https),
            closing,
            stop,
            tasks,
            trail_writer,
            admin,
            _lock: lock,
        })
    }

    /// Where it listens for MQTT.
    #[must_use]
    pub const fn mqtt(&self) -> SocketAddr {
        self.mqtt.0
    }

    /// Where it listens for HTTPS.
    #[must_use]
    pub const fn https(&self) -> SocketAddr {
        self.https.0
    }

    /// Every act and every question.
    #[must_use]
    pub const fn operations(&self) -> &Arc<Operations<SqliteStore>> {
        &self.operations
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// The live sessions.
    #[must_use]
    pub fn live(&self) -> &Arc<LiveSessions> {
        self.fleet.live()
    }

    /// The server credential in force.
    #[must_use]
    pub fn credential(&self) -> &Arc<LiveCredential> {
        &self.keeper.live
    }

    /// The CAs that clients are checked against.
    #[must_use]
    pub fn anchors(&self) -> &Arc<LiveAnchors> {
        &self.anchors
    }

    /// Reads settings, fleet file, CAs and server certificate again, without dropping anybody. What cannot be read leaves
    /// everything as it is.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn reload(&self) -> Result<(), StartError> {
        let new = Config::load(&self.directory)?;
        let fleet_file = FleetFile::load(&self.directory)?;
        let authorities = Authorities::load(&self.directory)?;
        let fixed = anchors_of(&authorities)?;
        self.keeper.refresh(new.certificates.server_secs)?;
        self.anchors.replace_own(&fixed);
        self.fleet.registrars().set_context(context_of(&fleet_file, &new));
        self.fleet.live().telemetry().set_limits(new.telemetry);
        self.session_max.send_replace(new.connections.session_max);
        let installation = Installation {
            server: authorities.server_certificate,
            ..Installation::clone(&self.operations.installation())
        };
        self.operations.set_installation(installation);
        let old = self.config.swap(Arc::new(new));
        let now = self.config.load();
        let needs_restart = [
            ("mqtt.listen", old.mqtt.listen != now.mqtt.listen),
            ("https.listen", old.https.listen != now.https.listen),
            ("mqtt.connections_max", old.mqtt.connections_max != now.mqtt.connections_max),
            ("https.connections_max", old.https.connections_max != now.https.connections_max),
            ("connections.handshakes_max", old.connections.handshakes_max != now.connections.handshakes_max),
            ("mqtt.queue_kib_max", old.mqtt.queue_kib_max != now.mqtt.queue_kib_max),
        ];
        for (setting, _) in needs_restart.iter().filter(|(_, is_changed)| *is_changed) {
            tracing::warn!(setting, "this setting is taken over by a restart only");
        }
        tracing::info!("reloaded");
        Ok(())
    }

    /// Stops: lets nobody in, says goodbye to everybody, waits for them within the bound, and closes the store.
    pub async fn drain(self) {
        let Self {
            config,
            fleet,
            store,
            mqtt,
            https,
            closing,
            stop,
            tasks,
            trail_writer,
            admin,
            keeper,
            operations,
            ..
        } = self;
        let bound = config.load().connections.drain_max;
        tracing::info!(mqtt = mqtt.1.slots.open(), https = https.1.slots.open(), "draining");
        closing.cancel();
        fleet.live().router().shut_down();
        let emptied = async { tokio::join!(mqtt.1.slots.emptied(), https.1.slots.emptied()) };
        if tokio::time::timeout(bound, emptied).await.is_err() {
            tracing::warn!(
                mqtt = mqtt.1.slots.open(),
                https = https.1.slots.open(),
                "some connections did not end in time"
            );
        }
        admin.abort();
        stop.cancel();
        for task in tasks {
            let _ = task.await;
        }
        let now = fleet.registrars().clock().now();
        // The trail's writer ends when nobody can write to it any more.
        drop((fleet, operations, keeper, mqtt, https));
        if tokio::time::timeout(TRAIL_MAX, trail_writer).await.is_err() {
            tracing::warn!("the last audit events may be missing");
        }
        let stopped = AuditEvent::new(now, AuditKind::GatewayStopped, Actor::Gateway);
        let transaction = Transaction::new(vec![Change::Audit(Box::new(stopped))]);
        if let Err(error) = apply_until_known(&store, transaction).await {
            tracing::error!(%error, "the end could not be recorded");
        }
        store.close().await;
    }
}

fn anchors_of(authorities: &Authorities) -> Result<Anchors, StartError> {
    Anchors::new([], [authorities.device.certificate()], [authorities.operator.certificate()])
        .map_err(StartError::Anchor)
}

fn context_of(fleet_file: &FleetFile, config: &Config) -> Context {
    Context {
        fleet: fleet_file.id.clone(),
        bundle_number: fleet_file.bundle_number,
        bundle: fleet_file.bundle.clone(),
        ldevid_secs: config.certificates.device_secs,
    }
}

async fn listen(at: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(at).await.map_err(|source| StartError::Listen { what: format!("{at} for {what}"), source })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { what: "the address given".to_owned(), source })
}

/// Files of the gateway itself: database, sockets, logs.
const FILES_OWN: u64 = 128;
/// How long the last audit events may take.
const TRAIL_MAX: Duration = Duration::from_secs(2);
