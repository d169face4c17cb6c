//! Every rule of a session, the no as hard as the yes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;

use super::super::packet::{Publish, QoS, Subscribe, SubscribeOptions};
use super::*;

fn limits() -> Limits {
    Limits { receive_maximum: 3, send_maximum: 2, topic_alias_maximum: 2, subscriptions_max: 2, ..Limits::default() }
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: "d1".into(),
        clean_start: true,
        keep_alive_secs: 60,
        will: None,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        session_expiry_secs: 0,
        wants_problem_information: true,
        wants_authentication: false,
    }
}

fn will(topic: &str) -> Will {
    Will {
        topic: TopicName::new(topic).unwrap(),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expiry_secs: None,
    }
}

fn admission() -> Admission {
    Admission {
        client_id: "d1".into(),
        rights: Rights::device("d1").unwrap(),
        deadline: None,
        control_prefix: Some("$muster/d1/control".into()),
        peer: "device d1".into(),
    }
}

/// A session with its clock.
struct World<'a> {
    session: Session<'a>,
    now: Instant,
}

impl<'a> World<'a> {
    fn new(limits: &'a Limits) -> Self {
        let now = Instant::now();
        Self { session: Session::new(now, limits), now }
    }

    fn live(limits: &'a Limits, version: Version) -> Self {
        Self::live_with(limits, connect(version), admission())
    }

    fn live_with(limits: &'a Limits, connect: Connect, admission: Admission) -> Self {
        let mut world = Self::new(limits);
        assert!(matches!(world.packet(Inbound::Connect(Box::new(connect)))[..], [Output::Admit { .. }]));
        assert!(matches!(world.input(Input::Admitted(Ok(admission)))[..], [Output::Register { .. }]));
        let outputs = world.input(Input::Registered(Registration::Done));
        assert!(matches!(outputs[..], [Output::Send(Outbound::Accept(_))]), "{outputs:?}");
        world
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle_input(self.now, input);
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    fn packet(&mut self, packet: Inbound) -> Vec<Output> {
        self.input(Input::Packet(packet))
    }

    fn publish(&mut self, topic: &str, packet_id: Option<u16>) -> Vec<Output> {
        self.packet(Inbound::Publish(publish(topic, packet_id)))
    }

    fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Vec<Output> {
        let filters = filters
            .iter()
            .map(|(filter, qos)| (TopicFilter::new(filter).unwrap(), SubscribeOptions { qos: *qos, no_local: false }));
        self.packet(Inbound::Subscribe(Subscribe {
            packet_id: id(9),
            filters: filters.collect(),
            has_identifier: false,
        }))
    }

    /// The clock jumps to the next deadline.
    fn wait(&mut self) -> Vec<Output> {
        self.now = self.session.poll_timeout().expect("no deadline");
        self.input(Input::Timeout)
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn publish(topic: &str, packet_id: Option<u16>) -> Publish {
    Publish {
        topic: Some(TopicName::new(topic).unwrap()),
        alias: None,
        payload: Bytes::from_static(b"x"),
        qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
        packet_id: packet_id.map(id),
        retain: false,
        properties: None,
        expiry_secs: None,
    }
}

fn message(payload_bytes: usize) -> Arc<Message> {
    let topic = TopicName::new("devices/d1/in").unwrap();
    Arc::new(Message::new(topic, Bytes::from(vec![0; payload_bytes]), QoS::AtLeastOnce))
}

fn sent(outputs: &[Output]) -> Vec<&Outbound> {
    outputs.iter().filter_map(|output| if let Output::Send(packet) = output { Some(packet) } else { None }).collect()
}

fn acknowledged(outputs: &[Output]) -> Vec<(u16, Reason)> {
    let one = |packet: &&Outbound| match packet {
        Outbound::PubAck { packet_id, reason, .. } => Some((packet_id.get(), *reason)),
        _ => None,
    };
    sent(outputs).iter().filter_map(one).collect()
}

#[track_caller]
fn assert_closed(outputs: &[Output], reason: Option<Reason>, end: End) {
    let said = sent(outputs).iter().find_map(|packet| match packet {
        Outbound::Disconnect { reason, .. } | Outbound::Refuse { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!((said, outputs.last()), (reason, Some(&Output::Close(end))), "{outputs:?}");
}

#[test]
fn a_session_starts_with_connect_and_says_what_it_does_not_offer() {
    let limits = limits();
    let mut world = World::new(&limits);
    let asked = Connect { keep_alive_secs: 0, session_expiry_secs: 9, client_id: "".into(), ..connect(Version::V5) };
    world.packet(Inbound::Connect(Box::new(asked)));
    world.input(Input::Admitted(Ok(admission())));
    let outputs = world.input(Input::Registered(Registration::Done));
    let [Output::Send(Outbound::Accept(answer))] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((answer.keep_alive_secs, answer.session_expiry_secs), (Some(3600), Some(0)));
    assert_eq!((answer.assigned_client_id.as_deref(), answer.receive_maximum), (Some("d1"), 3));
    assert!(world.session.is_live() && world.session.client_id() == "d1");
}

#[test]
fn anything_but_connect_first_ends_the_connection_without_a_word() {
    let limits = limits();
    for packet in [Inbound::PingReq, Inbound::Publish(publish("a", None)), Inbound::Disconnect { reason: 0 }] {
        let mut world = World::new(&limits);
        assert_closed(&world.packet(packet), None, End::Protocol("a packet out of place"));
    }
    let mut world = World::new(&limits);
    let bad = DecodeError::Bad { reason: Reason::MalformedPacket, what: "x" };
    assert_closed(&world.input(Input::Malformed(bad)), None, End::Protocol("x"));
    let mut world = World::new(&limits);
    let old = world.input(Input::Malformed(DecodeError::UnsupportedVersion { level: 3 }));
    assert_closed(&old, Some(Reason::UnsupportedVersion), End::Unsupported);
    assert_closed(&World::new(&limits).wait(), None, End::ConnectTimeout);
}

#[test]
fn what_is_not_offered_is_refused_before_the_gatekeeper_is_asked() {
    let limits = limits();
    let with_will = |change: fn(&mut Will)| {
        let mut will = will("devices/d1/gone");
        change(&mut will);
        Connect { will: Some(will), ..connect(Version::V5) }
    };
    for (connect, reason) in [
        (Connect { wants_authentication: true, ..connect(Version::V5) }, Reason::BadAuthenticationMethod),
        (Connect { client_id: "".into(), clean_start: false, ..connect(Version::V311) }, Reason::ClientIdInvalid),
        (with_will(|will| will.qos = QoS::ExactlyOnce), Reason::QoSNotSupported),
        (with_will(|will| will.retain = true), Reason::RetainNotSupported),
    ] {
        let outputs = World::new(&limits).packet(Inbound::Connect(Box::new(connect)));
        assert_closed(&outputs, Some(reason), End::Unsupported);
    }
}

#[test]
fn a_refusal_carries_the_name_of_its_code() {
    let limits = limits();
    for (code, reason) in [
        (Code::DeviceSuspended, Reason::NotAuthorized),
        (Code::SessionClientId, Reason::NotAuthorized),
        (Code::Unavailable, Reason::ServerUnavailable),
    ] {
        let mut world = World::new(&limits);
        world.packet(Inbound::Connect(Box::new(connect(Version::V5))));
        let outputs = world.input(Input::Admitted(Err(Refusal { code })));
        assert_eq!(sent(&outputs), [&Outbound::Refuse { reason, text: Some(code.name()) }]);
        assert_closed(&outputs, Some(reason), End::Refused(code));
    }
}

#[test]
fn a_will_outside_the_rights_is_refused_before_any_session_is_touched() {
    let limits = limits();
    for topic in ["devices/d2/gone", "$muster/d1/control/up"] {
        let mut world = World::new(&limits);
        world.packet(Inbound::Connect(Box::new(Connect { will: Some(will(topic)), ..connect(Version::V5) })));
        let outputs = world.input(Input::Admitted(Ok(admission())));
        assert_eq!(outputs[0], Output::Denied(Denied::Will, topic.into()));
        assert_closed(&outputs, Some(Reason::NotAuthorized), End::Refused(Code::SessionTopicDenied));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Register { .. })));
    }
}

#[test]
fn a_cut_during_admission_asks_again_but_not_for_ever() {
    let limits = limits();
    let mut world = World::new(&limits);
    world.packet(Inbound::Connect(Box::new(connect(Version::V5))));
    for _ in 0..4 {
        world.input(Input::Admitted(Ok(admission())));
        let outputs = world.input(Input::Registered(Registration::AskAgain));
        assert!(matches!(outputs[..], [Output::Admit { .. }]), "{outputs:?}");
    }
    world.input(Input::Admitted(Ok(admission())));
    let outputs = world.input(Input::Registered(Registration::AskAgain));
    assert_closed(&outputs, Some(Reason::ServerBusy), End::Refused(Code::SessionBusy));
}

#[test]
fn a_gatekeeper_that_does_not_answer_is_not_waited_for() {
    let limits = limits();
    let mut world = World::new(&limits);
    world.packet(Inbound::Connect(Box::new(connect(Version::V311))));
    assert_closed(&world.wait(), Some(Reason::ServerUnavailable), End::Unavailable);
}

#[test]
fn puback_comes_only_after_the_message_was_taken_and_in_order() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    assert!(matches!(world.publish("devices/d1/a", Some(1))[..], [Output::Route(_)]));
    assert_eq!(world.publish("devices/d2/a", Some(2)), []);
    assert_eq!(world.publish("$muster/d1/control/up", Some(3)), []);
    let outputs = world.input(Input::Routed(Ok(1)));
    assert_eq!(acknowledged(&outputs), [(1, Reason::Success), (2, Reason::NotAuthorized)]);
    assert!(matches!(outputs.last(), Some(Output::Control(_))));
    assert_eq!(acknowledged(&world.input(Input::Controlled(Ok(())))), [(3, Reason::Success)]);
    world.publish("devices/d1/a", Some(4));
    assert_eq!(acknowledged(&world.input(Input::Routed(Ok(0)))), [(4, Reason::NoMatchingSubscribers)]);
    assert!(matches!(world.publish("devices/d1/a", None)[..], [Output::Route(_)]));
    assert_eq!(world.input(Input::Routed(Ok(0))), []);
}

#[test]
fn a_publish_without_right_is_always_heard_of() {
    let limits = limits();
    for topic in ["devices/d2/a", "a", "$SYS/x", "$muster/d1/enrol/up", "$muster/d1/control/down"] {
        let outputs = World::live(&limits, Version::V5).publish(topic, Some(1));
        assert_eq!(outputs[0], Output::Denied(Denied::Publish, topic.into()));
        assert_eq!(acknowledged(&outputs), [(1, Reason::NotAuthorized)]);
        let outputs = World::live(&limits, Version::V5).publish(topic, None);
        assert_closed(&outputs, Some(Reason::NotAuthorized), End::Denied);
        for packet_id in [None, Some(1)] {
            let outputs = World::live(&limits, Version::V311).publish(topic, packet_id);
            assert_eq!(outputs[0], Output::Denied(Denied::Publish, topic.into()));
            assert_eq!((acknowledged(&outputs), outputs.last()), (vec![], Some(&Output::Close(End::Denied))));
        }
    }
}

#[test]
fn control_topics_outside_the_prefix_are_nobodys_even_with_the_right() {
    let limits = limits();
    let every = Rights::new(vec![TopicFilter::new("$muster/#").unwrap()], vec![]);
    for (prefix, topic) in [(None, "$muster/d1/control/up"), (Some("$muster/d1/enrol"), "$muster/d1/control/up")] {
        let admission = Admission { control_prefix: prefix.map(Into::into), rights: every.clone(), ..admission() };
        let mut world = World::live_with(&limits, connect(Version::V5), admission);
        assert_eq!(acknowledged(&world.publish(topic, Some(1))), [(1, Reason::NotAuthorized)]);
    }
}

#[test]
fn a_control_refusal_reaches_the_client() {
    let limits = limits();
    let refusal = Refusal { code: Code::MessageMalformed };
    let mut world = World::live(&limits, Version::V5);
    world.publish("$muster/d1/control/up", Some(1));
    let outputs = world.input(Input::Controlled(Err(refusal)));
    let text = Some("message.malformed");
    assert_eq!(sent(&outputs), [&Outbound::PubAck { packet_id: id(1), reason: Reason::ImplementationSpecific, text }]);
    let mut world = World::live(&limits, Version::V311);
    world.publish("$muster/d1/control/up", Some(1));
    assert_closed(&world.input(Input::Controlled(Err(refusal))), None, End::Cut(Code::MessageMalformed));
}

#[test]
fn a_message_that_the_bus_does_not_take_is_never_acknowledged() {
    let limits = limits();
    for (error, version, reason, end) in [
        (PublishError::Fenced, Version::V5, Some(Reason::SessionTakenOver), End::TakenOver),
        (PublishError::Unavailable, Version::V5, Some(Reason::ServerBusy), End::Unavailable),
        (PublishError::Full, Version::V311, Some(Reason::ServerBusy), End::Unavailable),
    ] {
        let mut world = World::live(&limits, version);
        world.publish("devices/d1/a", Some(1));
        let outputs = world.input(Input::Routed(Err(error)));
        assert_eq!(acknowledged(&outputs), []);
        assert_closed(&outputs, reason, end);
    }
    let mut world = World::live(&limits, Version::V5);
    world.publish("devices/d1/a", Some(1));
    assert_eq!(acknowledged(&world.input(Input::Routed(Err(PublishError::Full)))), [(1, Reason::QuotaExceeded)]);
}

#[test]
fn qos_2_and_retained_messages_are_refused() {
    let limits = limits();
    for version in [Version::V311, Version::V5] {
        let retained = Publish { retain: true, ..publish("devices/d1/a", Some(1)) };
        let outputs = World::live(&limits, version).packet(Inbound::Publish(retained));
        assert_closed(&outputs, Some(Reason::RetainNotSupported), End::Unsupported);
        let twice = Publish { qos: QoS::ExactlyOnce, ..publish("devices/d1/a", Some(1)) };
        let outputs = World::live(&limits, version).packet(Inbound::Publish(twice));
        assert_closed(&outputs, Some(Reason::QoSNotSupported), End::Unsupported);
        let outputs = World::live(&limits, version).packet(Inbound::OutOfPlace);
        assert_closed(&outputs, Some(Reason::ProtocolError), End::Protocol("a packet out of place"));
    }
}

#[test]
fn more_messages_than_the_receive_maximum_end_version_5_and_hold_3_1_1() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    for number in 1..=3 {
        world.publish("devices/d1/a", Some(number));
        assert!(world.session.wants_input());
    }
    let outputs = world.publish("devices/d1/a", Some(4));
    assert_closed(
        &outputs,
        Some(Reason::ReceiveMaximumExceeded),
        End::Protocol("more messages than the receive maximum"),
    );

    let mut world = World::live(&limits, Version::V311);
    for number in 1..=6 {
        assert!(world.session.wants_input());
        world.publish("devices/d1/a", Some(number));
    }
    assert!(!world.session.wants_input());
    assert_eq!(world.session.poll_timeout(), None, "silence does not count while nothing is read");
    assert_eq!(acknowledged(&world.input(Input::Routed(Ok(1)))), [(1, Reason::Success)]);
    assert!(world.session.wants_input());
}

#[test]
fn an_alias_stands_for_the_topic_it_was_given_with() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    let with = |topic: Option<&str>, alias| {
        let topic = topic.map(|topic| TopicName::new(topic).unwrap());
        Inbound::Publish(Publish { topic, alias: Some(id(alias)), ..publish("a", None) })
    };
    for (topic, alias, wanted) in [
        (Some("devices/d1/a"), 2, "devices/d1/a"),
        (None, 2, "devices/d1/a"),
        (Some("devices/d1/b"), 2, "devices/d1/b"),
        (None, 2, "devices/d1/b"),
    ] {
        let outputs = world.packet(with(topic, alias));
        let [Output::Route(message)] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(message.topic.as_str(), wanted);
        world.input(Input::Routed(Ok(1)));
    }
    for (topic, alias) in [(None, 1), (Some("devices/d1/a"), 3)] {
        let outputs = World::live(&limits, Version::V5).packet(with(topic, alias));
        assert_closed(
            &outputs,
            Some(Reason::TopicAliasInvalid),
            End::Protocol("a topic alias that stands for nothing"),
        );
    }
}

#[test]
fn subscriptions_are_answered_one_by_one() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    let outputs = world.subscribe(&[
        ("devices/d1/a", QoS::ExactlyOnce),
        ("devices/#", QoS::AtLeastOnce),
        ("$share/g/devices/d1/a", QoS::AtLeastOnce),
        ("devices/d1/+", QoS::AtMostOnce),
        ("devices/d1/c", QoS::AtMostOnce),
        ("devices/d1/a", QoS::AtMostOnce),
    ]);
    let reasons = vec![
        Reason::GrantedQoS1,
        Reason::NotAuthorized,
        Reason::SharedSubscriptionsNotSupported,
        Reason::Success,
        Reason::QuotaExceeded,
        Reason::Success,
    ];
    assert_eq!(sent(&outputs), [&Outbound::SubAck { packet_id: id(9), reasons }]);
    let subscribed = outputs.iter().filter(|output| matches!(output, Output::Subscribe(..))).count();
    assert_eq!((subscribed, world.session.filters().len()), (3, 2));
    assert!(outputs.contains(&Output::Denied(Denied::Subscribe, "devices/#".into())));

    let filters = vec![TopicFilter::new("devices/d1/a").unwrap(), TopicFilter::new("devices/#").unwrap()];
    let outputs = world.packet(Inbound::Unsubscribe { packet_id: id(8), filters: filters.clone() });
    assert_eq!(outputs[0], Output::Unsubscribe(filters[0].clone()));
    let reasons = vec![Reason::Success, Reason::NoSubscriptionExisted];
    assert_eq!(sent(&outputs), [&Outbound::UnsubAck { packet_id: id(8), reasons }]);

    let identified = Subscribe { packet_id: id(1), filters: vec![], has_identifier: true };
    let outputs = world.packet(Inbound::Subscribe(identified));
    assert_closed(&outputs, Some(Reason::SubscriptionIdentifiersNotSupported), End::Unsupported);
}

#[test]
fn messages_are_sent_within_the_window_and_acknowledgements_open_it() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    let ids = |outputs: &[Output]| match outputs {
        [Output::Send(Outbound::Publish { packet_id, .. })] => packet_id.map(PacketId::get),
        other => panic!("{other:?}"),
    };
    assert_eq!(ids(&world.input(Input::Deliver(message(1), QoS::AtLeastOnce))), Some(1));
    assert_eq!(ids(&world.input(Input::Deliver(message(1), QoS::AtMostOnce))), None);
    assert_eq!(ids(&world.input(Input::Deliver(message(1), QoS::AtLeastOnce))), Some(2));
    assert!(!world.session.can_send());
    world.packet(Inbound::PubAck(id(7)));
    assert!(!world.session.can_send(), "an unknown id opens nothing");
    world.packet(Inbound::PubAck(id(1)));
    world.packet(Inbound::PubAck(id(1)));
    assert!(world.session.can_send());
    world.session.last_packet_id = u16::MAX;
    assert_eq!(ids(&world.input(Input::Deliver(message(1), QoS::AtLeastOnce))), Some(1));
    world.session.last_packet_id = 0;
    world.packet(Inbound::PubAck(id(2)));
    assert_eq!(ids(&world.input(Input::Deliver(message(1), QoS::AtLeastOnce))), Some(2), "1 is in use");
}

#[test]
fn the_clients_own_receive_maximum_and_packet_size_are_kept() {
    let limits = limits();
    let small = Connect { receive_maximum: 1, packet_bytes_max: 100, ..connect(Version::V5) };
    let mut world = World::live_with(&limits, small, admission());
    let outputs = world.input(Input::Deliver(message(200), QoS::AtLeastOnce));
    assert_eq!(outputs, [Output::Dropped(Dropped::TooLarge)]);
    assert!(world.session.can_send(), "what was not sent needs no acknowledgement");
    world.input(Input::Deliver(message(50), QoS::AtLeastOnce));
    assert!(!world.session.can_send());
}

#[test]
fn an_expired_message_is_dropped_and_a_living_one_says_what_is_left() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    let expires_at = Some(world.now + Duration::from_millis(1500));
    let message = Arc::new(Message { expires_at, ..(*message(1)).clone() });
    let outputs = world.input(Input::Deliver(Arc::clone(&message), QoS::AtMostOnce));
    assert!(matches!(outputs[..], [Output::Send(Outbound::Publish { expiry_secs: Some(2), .. })]), "{outputs:?}");
    world.now += Duration::from_millis(1500);
    let outputs = world.input(Input::Deliver(message, QoS::AtMostOnce));
    assert_eq!(outputs, [Output::Dropped(Dropped::Expired)]);
}

#[test]
fn a_client_that_does_not_acknowledge_is_ended_only_while_others_wait() {
    let limits = limits();
    let quiet = Connect { keep_alive_secs: 0, ..connect(Version::V311) };
    let mut world = World::live_with(&limits, quiet, admission());
    world.input(Input::Backlog);
    assert_eq!(world.session.poll_timeout(), None, "the window is open");
    world.input(Input::Deliver(message(1), QoS::AtLeastOnce));
    world.input(Input::Deliver(message(1), QoS::AtLeastOnce));
    assert_eq!(world.session.poll_timeout(), None, "nobody waits");
    world.input(Input::Backlog);
    world.packet(Inbound::PubAck(id(1)));
    assert_eq!(world.session.poll_timeout(), None, "an acknowledgement came");
    world.input(Input::Deliver(message(1), QoS::AtLeastOnce));
    world.input(Input::Backlog);
    assert_closed(&world.wait(), Some(Reason::QuotaExceeded), End::NotAcknowledging);
}

#[test]
fn silence_for_one_and_a_half_intervals_ends_a_session() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    assert_eq!(world.session.poll_timeout(), Some(world.now + Duration::from_secs(90)));
    world.now += Duration::from_secs(89);
    assert_eq!(sent(&world.packet(Inbound::PingReq)), [&Outbound::PingResp]);
    assert_eq!(world.session.poll_timeout(), Some(world.now + Duration::from_secs(90)));
    assert_eq!(world.input(Input::Timeout), [], "too early");
    assert_closed(&world.wait(), Some(Reason::KeepAliveTimeout), End::KeepAliveTimeout);
}

#[test]
fn the_certificate_ends_the_session_with_it() {
    let limits = limits();
    let deadline = Some(Instant::now() + Duration::from_secs(5));
    let mut world = World::live_with(&limits, connect(Version::V5), Admission { deadline, ..admission() });
    assert_eq!(world.session.poll_timeout(), deadline);
    let outputs = world.wait();
    let text = Some("certificate.expired");
    assert_eq!(sent(&outputs), [&Outbound::Disconnect { reason: Reason::MaximumConnectTime, text }]);
    assert_closed(&outputs, Some(Reason::MaximumConnectTime), End::Expired);
}

#[test]
fn a_cut_ends_the_session_at_once_and_drops_what_waits() {
    let limits = limits();
    for (cut, reason, end) in [
        (Cut::Refused(Code::DeviceRevoked), Reason::AdministrativeAction, End::Cut(Code::DeviceRevoked)),
        (Cut::TakenOver, Reason::SessionTakenOver, End::TakenOver),
        (Cut::ShuttingDown, Reason::ServerShuttingDown, End::ShuttingDown),
    ] {
        let mut world = World::live(&limits, Version::V5);
        world.publish("devices/d1/a", Some(1));
        let outputs = world.input(Input::Cut(cut));
        let text = end.code().map(Code::name);
        assert_eq!(sent(&outputs), [&Outbound::Disconnect { reason, text }]);
        assert_closed(&outputs, Some(reason), end);
        assert_eq!(world.input(Input::Routed(Ok(1))), [], "nothing is acknowledged after the end");
        assert_eq!(world.packet(Inbound::PingReq), []);
        assert!(!world.session.wants_input() && !world.session.can_send());
    }
}

#[test]
fn what_was_published_before_goodbye_is_still_taken() {
    let limits = limits();
    for (input, end) in
        [(Input::Packet(Inbound::Disconnect { reason: 0 }), End::Disconnected { reason: 0 }), (Input::Ended, End::Lost)]
    {
        let mut world = World::live(&limits, Version::V5);
        world.publish("devices/d1/a", None);
        world.publish("devices/d1/b", None);
        assert_eq!(world.input(input), []);
        assert!(!world.session.wants_input());
        assert!(matches!(world.input(Input::Routed(Ok(1)))[..], [Output::Route(_)]));
        assert_eq!(world.input(Input::Routed(Ok(1))), [Output::Close(end)]);
    }
    let mut world = World::live(&limits, Version::V5);
    world.publish("devices/d1/a", None);
    world.input(Input::Ended);
    assert_eq!(world.wait(), [Output::Close(End::Lost)], "but not for ever");
}

#[test]
fn the_will_is_left_at_every_end_but_a_normal_goodbye() {
    let limits = limits();
    let connect = || Connect { will: Some(will("devices/d1/gone")), ..connect(Version::V5) };
    let left = |input: Input| {
        let mut world = World::live_with(&limits, connect(), admission());
        world.input(input);
        world.session.take_will(world.now).is_some()
    };
    assert!(!left(Input::Packet(Inbound::Disconnect { reason: 0x00 })));
    assert!(left(Input::Packet(Inbound::Disconnect { reason: 0x04 })));
    assert!(left(Input::Ended));
    assert!(left(Input::WriteStuck));
    assert!(left(Input::Cut(Cut::Refused(Code::DeviceRevoked))));
    assert!(left(Input::Packet(Inbound::OutOfPlace)));
}

#[test]
fn reason_strings_are_left_out_for_clients_that_do_not_want_or_take_them() {
    let limits = limits();
    let declined = Connect { wants_problem_information: false, ..connect(Version::V5) };
    let mut world = World::live_with(&limits, declined, admission());
    let outputs = world.publish("devices/d2/a", Some(1));
    assert_eq!(sent(&outputs), [&Outbound::PubAck { packet_id: id(1), reason: Reason::NotAuthorized, text: None }]);
    let outputs = world.input(Input::Cut(Cut::TakenOver));
    assert!(matches!(sent(&outputs)[..], [Outbound::Disconnect { text: Some(_), .. }]), "DISCONNECT may always say it");
    let tiny = Connect { packet_bytes_max: 20, ..connect(Version::V5) };
    let mut world = World::live_with(&limits, tiny, admission());
    let outputs = world.input(Input::Cut(Cut::TakenOver));
    assert!(matches!(sent(&outputs)[..], [Outbound::Disconnect { text: None, .. }]));
}

#[test]
fn an_idle_session_keeps_no_lists() {
    let limits = limits();
    let mut world = World::live(&limits, Version::V5);
    world.publish("devices/d1/a", Some(1));
    world.input(Input::Routed(Ok(1)));
    assert_eq!((world.session.outputs.capacity(), world.session.waiting.capacity()), (0, 0));
    assert!(size_of::<Session<'_>>() <= 512, "{}", size_of::<Session<'_>>());
}
