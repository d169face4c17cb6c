//! Commands to a device's own program: who may send one, what reaches the device, whose answer counts.

use std::time::Duration;

use muster_gateway::admin::view::{CommandStanding, CommandView};
use muster_gateway::admin::{AuditFilter, Caller, NewCommand, OperationError};
use muster_gateway::store::OperatorRole;
use muster_protocol::limits::ARGUMENT_BYTES_MAX;
use muster_protocol::message::application::{Answer, Command, Outcome};
use muster_protocol::message::encode;
use tokio::time::timeout;

use crate::edge::{Mqtt, Running};
use crate::server::enrol;
use crate::world::{id, peer};

const PATIENCE: Duration = Duration::from_secs(20);

fn new(name: &str, argument: &str, wait_secs: u64) -> NewCommand {
    NewCommand { name: name.into(), argument: argument.into(), wait_secs }
}

/// The next command that reaches a device: its number, name and argument.
async fn command(mqtt: &mut Mqtt) -> (u32, String, Vec<u8>) {
    loop {
        let (first, body) = timeout(PATIENCE, mqtt.read()).await.expect("no command came").expect("hung up");
        if first & 0xF0 == 0x30 {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            // Packet id and no properties.
            let Command { number, name, argument } = Command::decode(&body[2 + topic + 3..]).unwrap();
            return (number, name.to_owned(), argument.to_vec());
        }
    }
}

async fn answer(mqtt: &mut Mqtt, device: &str, number: u32, outcome: Outcome<'_>) {
    let payload = encode(&Answer { number, outcome }).unwrap();
    assert_eq!(mqtt.publish(&format!("devices/{device}/answer"), &payload).await, Some(0x10));
}

/// A gateway with two devices that listen.
async fn two() -> (Running, [Mqtt; 2]) {
    let running = Running::start().await;
    let devices = ["d1", "d2"].map(|name| running.factory.device(name));
    running.import(&[&devices[0], &devices[1]]).await;
    let mut sessions = Vec::new();
    for device in &devices {
        let shown = enrol(&running, device).await;
        let mut mqtt = running.mqtt(&shown, device.id().as_str()).await;
        assert_eq!(mqtt.connack().await.0, 0);
        assert!(mqtt.subscribe(&format!("devices/{}/command", device.id())).await <= 1);
        sessions.push(mqtt);
    }
    (running, sessions.try_into().ok().unwrap())
}

async fn send(running: &Running, device: &str, new: NewCommand) -> Result<CommandView, OperationError> {
    running.gateway.operations().command(&Caller::local(), &id(device), new).await
}

#[tokio::test]
async fn the_device_it_was_sent_to_answers_it_and_nobody_else_can() {
    let (running, [mut one, mut two]) = two().await;
    let asked = send(&running, "d1", new("blink", "three times", 20));
    let device = async {
        let (number, name, argument) = command(&mut one).await;
        assert_eq!((name.as_str(), argument.as_slice()), ("blink", &b"three times"[..]));
        // Another device with the right number, and this one with a wrong one.
        answer(&mut two, "d2", number, Outcome::Done(b"not mine")).await;
        answer(&mut one, "d1", number.wrapping_add(1), Outcome::Done(b"not this")).await;
        answer(&mut one, "d1", number, Outcome::Done(b"\xffok")).await;
    };
    let (asked, ()) = tokio::join!(asked, device);
    let view = asked.unwrap();
    assert_eq!(
        (view.outcome, view.result.as_str(), view.result_hex.as_str()),
        (CommandStanding::Done, "\u{fffd}ok", "ff6f6b")
    );
    for (outcome, standing) in
        [(Outcome::Failed(b"no lamp"), CommandStanding::Failed), (Outcome::Unknown, CommandStanding::Unknown)]
    {
        let asked = send(&running, "d1", new("blink", "", 20));
        let device = async {
            let (number, ..) = command(&mut one).await;
            answer(&mut one, "d1", number, outcome).await;
        };
        assert_eq!(tokio::join!(asked, device).0.unwrap().outcome, standing);
    }
    let filter = AuditFilter { kind: "device.commanded".parse().unwrap(), after: Some(0), ..AuditFilter::default() };
    let records = running.gateway.operations().audit(&Caller::local(), filter).await.unwrap().items;
    assert_eq!(records.len(), 3);
    let details = &records[0].details;
    assert!(details["command"] == "blink" && details["argument_bytes"] == "11", "what, and not with what: {details:?}");
}

#[tokio::test]
async fn what_is_not_answered_is_said_to_be_unknown() {
    let (running, [mut one, _two]) = two().await;
    let silent = send(&running, "d2", new("blink", "", 1)).await.unwrap_err();
    assert_eq!((silent.code.as_str(), silent.status()), ("command.unanswered", 503));
    let asked = send(&running, "d1", new("blink", "", 60));
    let device = async {
        command(&mut one).await;
        drop(one);
    };
    let (gone, ()) =
        timeout(PATIENCE, async { tokio::join!(asked, device) }).await.expect("waits for a device that left");
    let gone = gone.unwrap_err();
    assert!(gone.code == "command.unanswered" && gone.message.contains("went away"), "{gone:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_and_nothing_is_sent() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    let caller = |role| Caller::operator(id("ada"), role, Some(peer()));
    let operations = running.gateway.operations();
    let refused =
        async |caller: &Caller, new: NewCommand| operations.command(caller, &id("d1"), new).await.unwrap_err().code;
    let local = Caller::local();
    assert_eq!(refused(&local, new("blink", "", 1)).await, "device.unknown");
    running.import(&[&device]).await;
    assert_eq!(refused(&local, new("blink", "", 1)).await, "device.offline");
    assert_eq!(refused(&caller(OperatorRole::Viewer), new("blink", "", 1)).await, "operator.forbidden");
    for wrong in [
        new("", "", 1),
        new(&"n".repeat(33), "", 1),
        new("bl\nink", "", 1),
        new("blink", &"a".repeat(ARGUMENT_BYTES_MAX + 1), 1),
        new("blink", "", 0),
        new("blink", "", 61),
    ] {
        assert_eq!(refused(&local, wrong).await, "usage.wrong");
    }
    // Enrolling is no time for commands, and a program that takes none gets none.
    let shown = enrol(&running, &device).await;
    let mut mqtt = running.mqtt(&shown, "d1").await;
    assert_eq!(mqtt.connack().await.0, 0);
    assert_eq!(refused(&local, new("blink", "", 1)).await, "command.not_heard");
    assert!(mqtt.subscribe("devices/d1/command").await <= 1);
    let longest = send(&running, "d1", new(&"n".repeat(32), &"a".repeat(ARGUMENT_BYTES_MAX), 20));
    let device = async {
        let (number, _, argument) = command(&mut mqtt).await;
        assert_eq!(argument.len(), ARGUMENT_BYTES_MAX);
        answer(&mut mqtt, "d1", number, Outcome::Done(&[0; 128])).await;
    };
    assert_eq!(tokio::join!(longest, device).0.unwrap().result_hex.len(), 256);
}
