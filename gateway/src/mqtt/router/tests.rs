//! Who receives what, who waits, who is cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;
use std::task::{Context, Waker};

use super::super::bus::BusError;
use super::super::bus::faulty::FaultyBus;
use super::super::mailbox::Delivery;
use super::publish::APPEND_DEADLINE;
use super::*;

struct World {
    router: Router,
    connections: u64,
}

impl World {
    fn new(queue_units_max: u32) -> Self {
        Self { router: Router::new(queue_units_max), connections: 0 }
    }

    fn join(&mut self, client_id: &str) -> Arc<Mailbox> {
        self.connections += 1;
        let client_id: Arc<str> = client_id.into();
        self.router.arrive(self.connections, &client_id);
        let peer = format!("peer {client_id}");
        self.router.register(self.connections, &client_id, &peer, Version::V5).unwrap()
    }

    fn subscribe(&self, mailbox: &Arc<Mailbox>, filter: &str, qos: QoS) {
        let options = SubscribeOptions { qos, no_local: false };
        self.router.subscribe(mailbox, &TopicFilter::new(filter).unwrap(), options);
    }
}

fn message(topic: &str, qos: QoS) -> Arc<Message> {
    Arc::new(Message::new(TopicName::new(topic).unwrap(), Bytes::from_static(b"x"), qos))
}

fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

fn received(mailbox: &Mailbox) -> Vec<(String, QoS)> {
    let one = |delivery: Delivery| (delivery.message.topic.to_string(), delivery.qos);
    std::iter::from_fn(|| mailbox.pop()).map(one).collect()
}

#[test]
fn each_session_receives_a_message_once_at_the_best_quality_it_asked_for() {
    let mut world = World::new(16);
    let (from, one, two) = (world.join("from"), world.join("one"), world.join("two"));
    for (mailbox, filter, qos) in [
        (&one, "a/+", QoS::AtMostOnce),
        (&one, "a/b", QoS::AtLeastOnce),
        (&one, "#", QoS::AtMostOnce),
        (&two, "a/#", QoS::AtMostOnce),
        (&two, "c", QoS::AtLeastOnce),
    ] {
        world.subscribe(mailbox, filter, qos);
    }
    let publish = |topic, qos| now_or_never(world.router.publish(Some(&from), &message(topic, qos))).unwrap();
    assert_eq!(publish("a/b", QoS::AtLeastOnce), Ok(2));
    assert_eq!(received(&one), [("a/b".into(), QoS::AtLeastOnce)]);
    assert_eq!(received(&two), [("a/b".into(), QoS::AtMostOnce)]);
    assert_eq!(publish("a/b", QoS::AtMostOnce), Ok(2));
    assert_eq!(received(&one), [("a/b".into(), QoS::AtMostOnce)]);
    assert_eq!(publish("$a/b", QoS::AtLeastOnce), Ok(0));
    world.router.unsubscribe(&two, &TopicFilter::new("a/#").unwrap());
    assert_eq!(publish("a/x", QoS::AtLeastOnce), Ok(1));
}

#[test]
fn a_session_can_decline_its_own_messages() {
    let mut world = World::new(16);
    let (one, two) = (world.join("one"), world.join("two"));
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, no_local: true };
    world.router.subscribe(&one, &TopicFilter::new("a").unwrap(), options);
    let publish = |from| now_or_never(world.router.publish(Some(from), &message("a", QoS::AtLeastOnce))).unwrap();
    assert_eq!((publish(&one), publish(&two)), (Ok(0), Ok(1)));
}

#[test]
fn a_publisher_waits_for_the_slowest_and_is_let_go_when_that_one_ends() {
    let mut world = World::new(1);
    let (from, slow) = (world.join("from"), world.join("slow"));
    world.subscribe(&slow, "a", QoS::AtLeastOnce);
    let message = message("a", QoS::AtLeastOnce);
    assert_eq!(now_or_never(world.router.publish(Some(&from), &message)), Some(Ok(1)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(world.router.publish(Some(&from), &message));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!(world.router.metrics().publishes_waiting.value(), 1);
    slow.pop().unwrap();
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
    let mut waiting = Box::pin(world.router.publish(Some(&from), &message));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    world.router.leave(&slow, &[TopicFilter::new("a").unwrap()]);
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
    assert_eq!((world.router.metrics().publishes_waiting.value(), world.router.subscriptions()), (0, 0));
}

#[test]
fn qos_0_is_dropped_and_counted_when_there_is_no_room() {
    let mut world = World::new(1);
    let (from, slow) = (world.join("from"), world.join("slow"));
    world.subscribe(&slow, "a", QoS::AtLeastOnce);
    for _ in 0..3 {
        let taken = now_or_never(world.router.publish(Some(&from), &message("a", QoS::AtMostOnce)));
        assert_eq!(taken, Some(Ok(1)));
    }
    assert_eq!((received(&slow).len(), world.router.metrics().dropped_queue_full.value()), (1, 2));
}

#[test]
fn a_younger_session_takes_over_and_the_old_one_can_do_nothing_more() {
    let mut world = World::new(16);
    let old = world.join("d1");
    world.subscribe(&old, "a", QoS::AtLeastOnce);
    let young = world.join("d1");
    assert!(young.handle.epoch() > old.handle.epoch());
    assert_eq!((old.wished(), young.wished()), (Some(Cut::TakenOver), None));
    let publish = now_or_never(world.router.publish(Some(&old), &message("a", QoS::AtLeastOnce)));
    assert_eq!(publish, Some(Err(PublishError::Fenced)));
    assert_eq!(world.router.answer(&old.handle, "a", "x", QoS::AtMostOnce), Delivered::NoSession);
    world.router.leave(&old, &[TopicFilter::new("a").unwrap()]);
    let live: Vec<_> = world.router.sessions().iter().map(|info| info.handle.epoch()).collect();
    assert_eq!(live, [young.handle.epoch()], "leaving late does not remove the younger one");
}

#[test]
fn a_cut_reaches_its_session_and_no_other() {
    let mut world = World::new(16);
    let (one, two, three) = (world.join("one"), world.join("two"), world.join("three"));
    assert!(world.router.cut("one", Code::DeviceRevoked));
    assert!(!world.router.cut("one", Code::DeviceRevoked), "it was cut already");
    assert!(!world.router.cut("nobody", Code::DeviceRevoked));
    assert_eq!(one.wished(), Some(Cut::Refused(Code::DeviceRevoked)));
    assert_eq!((two.wished(), three.wished()), (None, None));
    assert!(world.router.session("one").is_none() && world.router.session("two").is_some());
    assert_eq!(world.router.cut_where(Code::DeviceSuspended, |info| info.peer == "peer two"), 1);
    assert!(!world.router.cut_session(&SessionHandle::new("three", 99, 3), Code::DeviceSuspended));
    assert!(world.router.cut_session(&three.handle, Code::DeviceSuspended));
    assert_eq!((world.router.sessions().len(), world.router.metrics().cut.value()), (0, 3));
}

#[test]
fn a_cut_that_comes_while_somebody_is_admitted_is_not_missed() {
    let world = World::new(16);
    let (d1, d2): (Arc<str>, Arc<str>) = ("d1".into(), "d2".into());
    let register = |connection, id| world.router.register(connection, id, "", Version::V5).err();
    world.router.arrive(1, &d1);
    world.router.arrive(2, &d2);
    assert!(!world.router.cut("d1", Code::DeviceRevoked));
    assert_eq!(register(1, &d1), Some(NotRegistered::AskAgain));
    assert_eq!(register(2, &d2), None);
    world.router.arrive(3, &d1);
    world.router.cut_where(Code::DeviceRevoked, |_| false);
    assert_eq!(register(3, &d1), Some(NotRegistered::AskAgain));
    world.router.arrive(4, &d1);
    world.router.shut_down();
    assert_eq!(register(4, &d1), Some(NotRegistered::ShuttingDown));
    assert_eq!(world.router.sessions().len(), 0);
}

#[test]
fn an_answer_goes_to_the_session_that_asked_and_only_where_it_listens() {
    let mut world = World::new(1);
    let d1 = world.join("d1");
    let deliver = |topic| world.router.deliver("d1", topic, "hello", QoS::AtLeastOnce);
    assert_eq!(deliver("$muster/d1/control/down"), Delivered::NotSubscribed);
    world.subscribe(&d1, "$muster/d1/control/down", QoS::AtMostOnce);
    assert_eq!(deliver("$muster/d1/control/down"), Delivered::Queued);
    assert_eq!(received(&d1), [("$muster/d1/control/down".into(), QoS::AtMostOnce)]);
    assert_eq!(
        (deliver("$muster/d2/control/down"), deliver("+")),
        (Delivered::NotSubscribed, Delivered::NotSubscribed)
    );
    assert_eq!(world.router.deliver("d2", "a", "", QoS::AtMostOnce), Delivered::NoSession);
    assert_eq!((0..20).filter(|_| deliver("$muster/d1/control/down") == Delivered::NoRoom).count(), 4);
    let answer = |handle: &SessionHandle| world.router.answer(handle, "$muster/d1/control/down", "", QoS::AtMostOnce);
    received(&d1);
    assert_eq!(answer(&d1.handle), Delivered::Queued);
    assert_eq!(answer(&SessionHandle::new("d1", 99, 1)), Delivered::NoSession);
}

#[tokio::test(start_paused = true)]
async fn an_append_is_repeated_under_its_id_until_the_bus_answers() {
    let faults = [BusError::Unknown, BusError::Unavailable, BusError::Full];
    let router = Router::on(AnyBus::Faulty(FaultyBus::new(&faults)), 16);
    assert_eq!(router.announce(Message::clone(&message("a", QoS::AtLeastOnce))).await, Ok(0));
    let AnyBus::Faulty(bus) = &router.bus else { panic!() };
    assert_eq!((bus.ids(), router.metrics().appends_repeated.value()), (vec![1; 4], 3));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_stays_away_is_given_up_and_a_fence_at_once() {
    for (faults, error) in [
        (vec![BusError::Unavailable; 1000], PublishError::Unavailable),
        (vec![BusError::Full; 1000], PublishError::Full),
        (vec![BusError::Fenced], PublishError::Fenced),
    ] {
        let router = Router::on(AnyBus::Faulty(FaultyBus::new(&faults)), 16);
        let started = tokio::time::Instant::now();
        assert_eq!(router.publish(None, &message("a", QoS::AtLeastOnce)).await, Err(error));
        assert_eq!(started.elapsed() >= APPEND_DEADLINE, error != PublishError::Fenced);
    }
}
