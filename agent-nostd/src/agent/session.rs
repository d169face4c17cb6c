//! One attempt to connect, and the session that comes of it.
//!
//! The gateways are tried in order. A refusal is an answer and ends the attempt; an unreachable or untrusted gateway does
//! not keep us from the next one. While there is no session yet, MQTT's buffers hold what the handshake needs: the fleet
//! file in one, the IDevID's certificate in the other. The gateway's chain lies in the core's output buffer, which is free
//! as long as the core waits.

use core::pin::pin;

use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embassy_time::{Duration, Instant, Timer, with_deadline};
use embedded_io_async::{ErrorType, Read, Write};
use muster_protocol::Code;
use muster_protocol::device::{Credential, Device, Failure, Input, Lent};
use muster_protocol::limits::{ANSWER_BYTES_MAX, RESULT_BYTES_MAX};
use muster_protocol::message::application::{Answer, Command, Outcome};
use muster_protocol::message::encode_into;
use muster_protocol::pki::{GatewayClock, VerifiedGateway};
use muster_protocol::topic::{self, Direction, TopicText};
use rand_core::CryptoRngCore;

use super::drain::{Broken, Offline, Outlet, Wants};
use super::life::{After, IDLE, due};
use super::trust::{ENDPOINT_BYTES_MAX, Target};
use super::{App, Reply, Running, Vault, Wish};
use crate::apart::apart;
use crate::clock;
use crate::fmt::Told;
use crate::key::DeviceKey as _;
use crate::mqtt::{self, Concern, Next, Session};
use crate::platform::{Clock, Network};
use crate::slots::FactoryItem;
use crate::telemetry;
use crate::tls::{self, GuardError, GuardedLine, Line};

/// How an attempt with one gateway went.
enum Attempt {
    /// There is no gateway of this index.
    NoSuchGateway,
    Failed(Failure),
    /// There was a session.
    Over(After),
}

/// Why a session ended.
enum Exit {
    /// The core wants it.
    HungUp(Wants),
    /// The board's program wants it.
    Stop,
    Broken(Broken),
}

impl<V, R, C, A> Running<'_, V, R, C, A>
where
    V: Vault,
    R: CryptoRngCore,
    C: Clock,
    A: App,
{
    /// Connects, and stays connected for as long as it goes.
    pub(super) async fn connect(
        &mut self,
        network: &mut impl Network,
        device: &mut Device,
        tls: &mut tls::Buffers,
        mqtt: &mut mqtt::Memory,
        credential: Credential,
    ) -> After {
        self.app.told(Told::Dialling(credential));
        let mut worst = Failure::Unreachable;
        for index in 0..GATEWAYS_MAX {
            let attempt = apart(pin!(self.attempt(network, device, tls, mqtt, credential, index))).await;
            match attempt {
                Attempt::Over(after) => return after,
                Attempt::Failed(Failure::Unreachable) => {}
                Attempt::Failed(failure @ Failure::GatewayUntrusted(_)) => worst = failure,
                Attempt::Failed(failure @ Failure::Refused(_)) => {
                    worst = failure;
                    break;
                }
                Attempt::NoSuchGateway => break,
            }
        }
        if let Failure::GatewayUntrusted(Code::CertificateExpired | Code::CertificateNotYetValid) = worst {
            self.clock.doubt();
        }
        self.app.told(Told::Closed(worst));
        self.input(device, Input::ConnectFailed(worst));
        After::Wants(apart(pin!(self.drain(device, &mut Offline))).await)
    }

    async fn attempt(
        &mut self,
        network: &mut impl Network,
        device: &mut Device,
        tls: &mut tls::Buffers,
        mqtt: &mut mqtt::Memory,
        credential: Credential,
        index: usize,
    ) -> Attempt {
        let started = Instant::now();
        let mut line = None;
        let (mut stream, gateway, deadline) = {
            let (scratch, spare) = mqtt.scratch();
            let target = apart(pin!(self.target(index, scratch))).await;
            let Some(target) = target else { return Attempt::NoSuchGateway };
            // The core gives an attempt twice the time of an answer.
            let share = 2 * self.options.settings.answer_millis_max / target.count.max(1) as u64;
            let deadline = started + Duration::from_millis(share);
            let connected = pin!(with_deadline(deadline, network.connect(&target.host, target.mqtt_port)));
            let socket = match apart(connected).await {
                Ok(Ok(socket)) => socket,
                _ => return Attempt::Failed(Failure::Unreachable),
            };
            self.app.told(Told::Reached(credential));
            let line = Line::start(&mut line, socket, tls);
            let shaken = apart(pin!(self.shake(line, device, spare, &target, credential, deadline))).await;
            match shaken {
                Ok((stream, gateway)) => (stream, gateway, deadline),
                Err(failure) => return Attempt::Failed(failure),
            }
        };
        self.app.told(Told::Secured(credential));
        let down = topic::control(device.identity().name(), credential.channel(), Direction::Down);
        let opened = {
            let (name, keep_alive_secs) = (device.identity().name(), self.options.keep_alive_secs);
            apart(pin!(Session::open(mqtt, &mut stream, name, keep_alive_secs, &down, deadline))).await
        };
        let (is_open, exit) = match opened {
            Ok(session) => {
                self.app.told(Told::Opened(credential));
                self.input(device, Input::Connected(gateway));
                let exit = apart(pin!(self.serve(device, session, credential, &down))).await;
                (true, exit)
            }
            Err(end) => (false, Exit::Broken(end)),
        };
        // MQTT's goodbye was sent where there was one to say; the socket is closed with the stream. TLS's own goodbye adds
        // nothing to it, and its future would be half of this one.
        drop(line);
        match exit {
            Exit::HungUp(wants) => Attempt::Over(After::Wants(wants)),
            Exit::Stop => Attempt::Over(After::Stop),
            Exit::Broken(end) if is_open => {
                let failure = failure_of_session(end);
                self.app.told(Told::Closed(failure));
                self.input(device, Input::Disconnected(failure));
                Attempt::Over(After::Wants(apart(pin!(self.drain(device, &mut Offline))).await))
            }
            Exit::Broken(end) => Attempt::Failed(failure_of_session(end)),
        }
    }

    /// The gateway at `index` of the bundle in force.
    pub(super) async fn target<'s>(&mut self, index: usize, scratch: &'s mut [u8]) -> Option<Target<'s>> {
        let mut instead = [0; ENDPOINT_BYTES_MAX];
        let length = self.vault.factory_item(FactoryItem::Gateway, &mut instead).ok().flatten();
        let instead = length.and_then(|length| instead.get(..length));
        let length = self.load_fleet(self.trust, scratch).await.ok()??;
        Target::read(scratch.get(..length)?, index, instead)
    }

    /// TLS, mutually.
    async fn shake<'l, 'b, S: Read + Write + 'b>(
        &mut self,
        line: &'l mut Line<'b, S>,
        device: &mut Device,
        spare: &mut [u8],
        target: &Target<'_>,
        credential: Credential,
        deadline: Instant,
    ) -> Result<(GuardedLine<'l, 'b, S>, VerifiedGateway), Failure> {
        let floor = device.clock_floor();
        // The core said all that it had to say, so this is free.
        let Lent { certificate, room } = device.lend(credential).ok_or(Failure::Unreachable)?;
        let certificate = match credential {
            Credential::Slot(_) => certificate,
            Credential::Idevid => {
                let length = self.vault.factory_item(FactoryItem::Certificate, spare).ok().flatten();
                length.and_then(|length| spare.get(..length))
            }
        };
        let expected = tls::Expected {
            name: &target.host,
            gateway_cas: &target.gateway_cas,
            clock: GatewayClock { floor, civil: clock::civil(&mut self.clock, floor) },
            algorithm: self.options.algorithm,
        };
        let mut key = self.vault.key(credential).ok();
        // That took a turn of its own.
        yield_now().await;
        let mut sign = |message: &[u8]| key.as_mut()?.sign(message).ok();
        let credential = tls::Credential { certificate: certificate.unwrap_or_default(), sign: &mut sign };
        let shaken = pin!(line.connect(&expected, credential, room, self.rng, deadline));
        apart(shaken).await.map_err(failure_of)
    }

    /// An open session, to its end.
    async fn serve<S>(
        &mut self,
        device: &mut Device,
        mut session: Session<'_, S>,
        credential: Credential,
        down: &TopicText,
    ) -> Exit
    where
        S: Read + Write + ErrorType<Error = GuardError>,
    {
        let up = topic::control(device.identity().name(), credential.channel(), Direction::Up);
        let mut report_at = None;
        let mut idle_until = Instant::MIN;
        loop {
            let mut outlet = Up { session: &mut session, topic: &up };
            let wants = apart(pin!(self.drain(device, &mut outlet))).await;
            if wants.disconnect || wants.restart || wants.connect.is_some() {
                session.close().await;
                return Exit::HungUp(wants);
            }
            if let Some(end) = wants.broken {
                return Exit::Broken(end);
            }
            let reported = apart(pin!(self.report(device, &mut session, &mut report_at))).await;
            if let Err(end) = reported {
                return Exit::Broken(end);
            }
            let alarm_at =
                report_at.map_or(due(device, idle_until), |report_at: Instant| report_at.min(due(device, idle_until)));
            let mut wish = None;
            let alarm = async {
                if let Either::Second(wished) = select(Timer::at(alarm_at), self.app.wish()).await {
                    wish = Some(wished);
                }
            };
            let happened = match session.next(alarm).await {
                Ok(Next::Refused(code)) => {
                    self.app.told(Told::PublicationRefused(code));
                    Ok(None)
                }
                Ok(Next::Publication { topic, payload }) if topic == down.as_str() => {
                    let now = clock::now(&mut self.clock, device.clock_floor());
                    device.handle_input(now, Input::Message(payload));
                    Ok(None)
                }
                Ok(Next::Publication { payload, .. }) => Ok(self.command(payload)),
                Ok(Next::Progress | Next::Alarm) => Ok(None),
                Err(end) => Err(end),
            };
            match (happened, wish) {
                (Err(end), _) => return Exit::Broken(end),
                (Ok(Some(answer)), _) => {
                    let topic = topic::answer(device.identity().name());
                    let published = apart(pin!(session.publish(&topic, &answer, Concern::Nobody))).await;
                    if let Err(end) = published {
                        return Exit::Broken(end);
                    }
                }
                (Ok(None), Some(Wish::Rotate)) => self.input(device, Input::Rotate),
                (Ok(None), Some(Wish::Retire)) => self.input(device, Input::Retire),
                (Ok(None), Some(Wish::Stop)) => {
                    session.close().await;
                    return Exit::Stop;
                }
                (Ok(None), None) => {
                    if Instant::now() >= due(device, idle_until) {
                        self.input(device, Input::Timeout);
                        idle_until = Instant::now() + IDLE;
                    }
                }
            }
        }
    }

    /// Once the session is one under the certificate in use, and welcomed: takes commands, and reports from time to time.
    async fn report<S>(
        &mut self,
        device: &Device,
        session: &mut Session<'_, S>,
        report_at: &mut Option<Instant>,
    ) -> Result<(), Broken>
    where
        S: Read + Write + ErrorType<Error = GuardError>,
    {
        let is_open = match device.session() {
            Some(Credential::Slot(slot)) => device.active_slot() == Some(slot),
            _ => false,
        };
        if !is_open {
            return Ok(());
        }
        let name = device.identity().name();
        let is_first = report_at.is_none();
        if is_first {
            session.subscribe(&topic::command(name)).await?;
        }
        let now = Instant::now();
        if report_at.is_none_or(|report_at| now >= report_at) {
            let interval = self.options.telemetry_secs;
            *report_at = Some(now + Duration::from_secs(if interval == 0 { 86_400 } else { u64::from(interval) }));
            if interval != 0 {
                let report = telemetry::report(now.as_secs(), self.app.vitals());
                session.publish(&topic::telemetry(name), &report, Concern::Nobody).await?;
            }
        }
        Ok(())
    }

    /// Hands a command to the board's program, and gives its answer. What is no command is not answered: nobody could tell
    /// to what.
    fn command(&mut self, payload: &[u8]) -> Option<EncodedAnswer> {
        let Command { number, name, argument } = Command::decode(payload).ok()?;
        let mut result = [0; RESULT_BYTES_MAX];
        let outcome = match self.app.command(name, argument, &mut result) {
            Reply::Done(length) => Outcome::Done(result.get(..length)?),
            Reply::Failed(length) => Outcome::Failed(result.get(..length)?),
            Reply::Unknown => Outcome::Unknown,
        };
        let mut encoded = EncodedAnswer::new();
        encode_into(&Answer { number, outcome }, &mut encoded).ok()?;
        Some(encoded)
    }
}

type EncodedAnswer = heapless::Vec<u8, ANSWER_BYTES_MAX>;

/// The up topic of an open session.
struct Up<'u, 's, S: Read + Write + ErrorType<Error = GuardError>> {
    session: &'u mut Session<'s, S>,
    topic: &'u TopicText,
}

impl<S: Read + Write + ErrorType<Error = GuardError>> Outlet for Up<'_, '_, S> {
    async fn send(&mut self, message: &[u8]) -> Result<(), Broken> {
        self.session.publish(self.topic, message, Concern::Session).await
    }
}

/// What a failed handshake means to the core.
fn failure_of(error: GuardError) -> Failure {
    match error {
        GuardError::GatewayUntrusted(code) => Failure::GatewayUntrusted(code),
        GuardError::Refused(code) => Failure::Refused(code),
        GuardError::Breach(_) => Failure::GatewayUntrusted(error.code()),
        _ => Failure::Unreachable,
    }
}

/// What the end of a session means to the core.
const fn failure_of_session(end: Broken) -> Failure {
    match end {
        mqtt::End::Stream(error @ GuardError::Breach(_)) => Failure::Refused(error.code()),
        mqtt::End::Stream(GuardError::GatewayUntrusted(code)) => Failure::GatewayUntrusted(code),
        mqtt::End::Stream(GuardError::Refused(code)) | mqtt::End::Refused(code) => Failure::Refused(code),
        mqtt::End::Protocol => Failure::Refused(Code::SessionProtocol),
        mqtt::End::Stream(_) | mqtt::End::Closed | mqtt::End::Silent => Failure::Unreachable,
    }
}

const GATEWAYS_MAX: usize = muster_protocol::limits::GATEWAYS_MAX;
