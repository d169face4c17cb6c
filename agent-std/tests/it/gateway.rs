//! A gateway for tests: real TLS and MQTT, answers of the control channels, and every refusal on demand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use muster_protocol::message::{self, Down, Issued, Up, Welcome};
use muster_protocol::pki::{Certificate, PublicKey, verify_csr};
use muster_protocol::time::UnixTime;
use muster_protocol::topic::{self, Channel, Direction};
use muster_protocol::{Code, DeviceId};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Disconnect, DisconnectProperties, DisconnectReasonCode, Packet,
    PingResp, PubAck, PubAckProperties, PubAckReason, Publish, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime as TlsTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;

use crate::pki::{Fleet, Leaf, Life};

/// What the gateway does, changed while it runs.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Refuses CONNECT with this.
    pub(crate) refuse_connect: Option<Code>,
    /// Refuses LDevIDs in the handshake with an alert.
    pub(crate) refuse_ldevid: Option<CertificateError>,
    /// Refuses publications of applications.
    pub(crate) refuse_publications: Option<Code>,
    /// Life of what is issued.
    pub(crate) life: Life,
    /// Says nothing to a CONNECT.
    pub(crate) is_silent: bool,
}

/// What the gateway saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connects: Vec<(Channel, String)>,
    pub(crate) confirmed: Vec<String>,
    pub(crate) stored: Vec<String>,
    pub(crate) publications: Vec<(String, Vec<u8>)>,
    pub(crate) retired: Vec<String>,
    pub(crate) filters: Vec<String>,
}

/// What is done to live sessions.
#[derive(Clone)]
enum Kick {
    Cut(Code),
    Send(String, Vec<u8>),
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    seen: watch::Receiver<Seen>,
    kicks: broadcast::Sender<Kick>,
}

impl Gateway {
    /// With a server certificate of the fleet's own.
    pub(crate) async fn start(fleet: &Arc<Fleet>) -> Self {
        let server = fleet.gateway_ca.server(&["127.0.0.1", "localhost"], Life::Good);
        Self::start_as(fleet, server).await
    }

    pub(crate) async fn start_as(fleet: &Arc<Fleet>, server: Leaf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Plan {
            refuse_connect: None,
            refuse_ldevid: None,
            refuse_publications: None,
            life: Life::Good,
            is_silent: false,
        };
        let plan = Arc::new(Mutex::new(plan));
        let (seen_out, seen) = watch::channel(Seen::default());
        let (kicks, _) = broadcast::channel(64);
        let shared = Arc::new(Shared {
            fleet: Arc::clone(fleet),
            plan: Arc::clone(&plan),
            seen: seen_out,
            kicks: kicks.clone(),
            issued: Mutex::new(HashMap::new()),
        });
        let verifier = Arc::new(Clients { plan: Arc::clone(&plan), device_ca: subject(&fleet.device_ca.der()) });
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(server.chain.clone(), server.key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move { serve(tcp, acceptor, shared).await });
            }
        });
        Self { address, plan, seen, kicks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap());
    }

    pub(crate) fn cut(&self, code: Code) {
        let _ = self.kicks.send(Kick::Cut(code));
    }

    pub(crate) fn publish(&self, topic: &str, payload: &[u8]) {
        let _ = self.kicks.send(Kick::Send(topic.to_owned(), payload.to_vec()));
    }

    pub(crate) fn order_rotation(&self, device: &str) {
        let topic = topic::control(&DeviceId::new(device).unwrap(), Channel::Control, Direction::Down);
        self.publish(&topic, &message::encode(&Down::Rotate { order: 1 }).unwrap());
    }

    pub(crate) async fn until(&self, what: &str, reached: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(Duration::from_secs(20), seen.wait_for(reached)).await;
        match waited {
            Ok(Ok(seen)) => seen.clone(),
            _ => panic!("{what} did not happen; the gateway saw {:?}", self.seen.borrow()),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }
}

struct Shared {
    fleet: Arc<Fleet>,
    plan: Arc<Mutex<Plan>>,
    seen: watch::Sender<Seen>,
    kicks: broadcast::Sender<Kick>,
    /// The same key gets the same certificate.
    issued: Mutex<HashMap<PublicKey, Vec<u8>>>,
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) -> Option<()> {
    let mut stream = acceptor.accept(tcp).await.ok()?;
    let leaf = stream.get_ref().1.peer_certificates()?.first()?.clone();
    let leaf = Certificate::parse(&leaf).ok()?;
    let channel = match leaf.extended_key_usage() {
        Some(_) => Channel::Control,
        None => Channel::Enrol,
    };
    let device = leaf.identity().ok()?.name().to_string();
    let serial = leaf.serial().to_string();
    let plan = || shared.plan.lock().unwrap().clone();
    let mut kicks = shared.kicks.subscribe();
    let mut input = BytesMut::new();
    let mut id = 0;
    loop {
        let packet = tokio::select! {
            packet = read(&mut stream, &mut input) => packet?,
            kick = kicks.recv() => {
                match kick.ok()? {
                    Kick::Cut(code) => {
                        let properties = DisconnectProperties {
                            session_expiry_interval: None,
                            reason_string: Some(code.name().to_owned()),
                            user_properties: Vec::new(),
                            server_reference: None,
                        };
                        let mut disconnect = Disconnect::new(DisconnectReasonCode::AdministrativeAction);
                        disconnect.properties = Some(properties);
                        write(&mut stream, &Packet::Disconnect(disconnect)).await?;
                        stream.shutdown().await.ok()?;
                        return None;
                    }
                    Kick::Send(topic, payload) => {
                        id += 1;
                        write(&mut stream, &publication(&topic, &payload, id)).await?;
                    }
                }
                continue;
            }
        };
        match packet {
            Packet::Connect(connect, _, _) => {
                assert_eq!(connect.client_id, device, "the client id is the device id");
                shared.seen.send_modify(|seen| seen.connects.push((channel, serial.clone())));
                if plan().is_silent {
                    continue;
                }
                let refused = plan().refuse_connect;
                write(&mut stream, &connack(refused)).await?;
                if refused.is_some() {
                    stream.shutdown().await.ok()?;
                    return None;
                }
            }
            Packet::Subscribe(subscribe) => {
                shared.seen.send_modify(|seen| {
                    seen.filters.extend(subscribe.filters.iter().map(|filter| filter.path.clone()));
                });
                let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
                let suback = SubAck { pkid: subscribe.pkid, return_codes: codes, properties: None };
                write(&mut stream, &Packet::SubAck(suback)).await?;
            }
            Packet::Unsubscribe(unsubscribe) => {
                let ack = UnsubAck { pkid: unsubscribe.pkid, reasons: vec![UnsubAckReason::Success], properties: None };
                write(&mut stream, &Packet::UnsubAck(ack)).await?;
            }
            Packet::Publish(publish) => {
                let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                let control = topic::parse_control(&topic);
                let mut ack = PubAck::new(publish.pkid, None);
                if let (None, Some(code)) = (&control, plan().refuse_publications) {
                    ack.reason = PubAckReason::NotAuthorized;
                    ack.properties = Some(PubAckProperties {
                        reason_string: Some(code.name().to_owned()),
                        user_properties: Vec::new(),
                    });
                }
                if publish.qos == QoS::AtLeastOnce {
                    write(&mut stream, &Packet::PubAck(ack)).await?;
                }
                match control {
                    Some((named, on, Direction::Up)) => {
                        assert!(named.as_str() == device && on == channel, "{topic} by {device}");
                        for answer in answers(&shared, &device, channel, &publish.payload) {
                            id += 1;
                            let down = topic::control(&named, channel, Direction::Down);
                            write(&mut stream, &publication(&down, &answer, id)).await?;
                        }
                    }
                    Some(_) => panic!("a device published on {topic}"),
                    None => shared.seen.send_modify(|seen| seen.publications.push((topic, publish.payload.to_vec()))),
                }
            }
            Packet::PingReq(_) => write(&mut stream, &Packet::PingResp(PingResp)).await?,
            Packet::PubAck(_) => {}
            Packet::Disconnect(_) => return Some(()),
            other => panic!("a device sent {other:?}"),
        }
    }
}

/// What the registrar of a gateway would say, without its memory.
fn answers(shared: &Shared, device: &str, channel: Channel, bytes: &[u8]) -> Vec<Vec<u8>> {
    let now = UnixTime(crate::pki::now_secs());
    let answer = |down: Down<'_>| message::encode(&down).unwrap().to_vec();
    match message::decode_up(bytes).unwrap() {
        Up::Hello(hello) => {
            if let (Channel::Control, Some(active), None) = (channel, hello.active, hello.candidate) {
                shared.seen.send_modify(|seen| seen.stored.push(active.to_string()));
            }
            vec![answer(Down::Welcome(Welcome { time: now, bundle: 1, order: None }))]
        }
        Up::Request { csr } => {
            let verified = verify_csr(csr, &crate::pki::identity(device)).expect("a good CSR");
            let life = shared.plan.lock().unwrap().life;
            let mut issued = shared.issued.lock().unwrap();
            let certificate = issued
                .entry(*verified.public_key())
                .or_insert_with(|| shared.fleet.device_ca.issue(device, verified.public_key(), life));
            vec![answer(Down::Issued(Issued { certificate, time: now }))]
        }
        Up::Confirm { serial } => {
            shared.seen.send_modify(|seen| seen.confirmed.push(serial.to_string()));
            vec![answer(Down::Confirmed { serial })]
        }
        Up::Retire => {
            shared.seen.send_modify(|seen| seen.retired.push(device.to_owned()));
            vec![answer(Down::Retired)]
        }
    }
}

fn publication(topic: &str, payload: &[u8], id: u16) -> Packet {
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload.to_vec(), None);
    publish.pkid = id;
    Packet::Publish(publish)
}

fn connack(refused: Option<Code>) -> Packet {
    let code = if refused.is_some() { ConnectReturnCode::NotAuthorized } else { ConnectReturnCode::Success };
    let properties = ConnAckProperties {
        session_expiry_interval: None,
        receive_max: Some(16),
        max_qos: Some(1),
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: refused.map(|code| code.name().to_owned()),
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    };
    Packet::ConnAck(ConnAck { session_present: false, code, properties: Some(properties) })
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

async fn read(stream: &mut Stream, input: &mut BytesMut) -> Option<Packet> {
    loop {
        match Packet::read(input, None) {
            Ok(packet) => return Some(packet),
            Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => {}
            // A DISCONNECT without a reason, which the codec does not read.
            Err(_) => return None,
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write(stream: &mut Stream, packet: &Packet) -> Option<()> {
    let mut output = BytesMut::new();
    packet.write(&mut output, None).unwrap();
    stream.write_all(&output).await.ok()?;
    stream.flush().await.ok()
}

/// Takes any client that has its key, or refuses LDevIDs with an alert.
#[derive(Debug)]
struct Clients {
    plan: Arc<Mutex<Plan>>,
    device_ca: Vec<u8>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plan")
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: TlsTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let is_ldevid = Certificate::parse(end_entity).unwrap().issuer_der() == self.device_ca;
        match self.plan.lock().unwrap().refuse_ldevid.clone() {
            Some(error) if is_ldevid => Err(error.into()),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn subject(ca: &[u8]) -> Vec<u8> {
    Certificate::parse(ca).unwrap().subject_der().to_vec()
}
