//! Other programs of the device on the Unix socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use muster_agent_std::config::LocalApi;
use muster_agent_std::local_api::{AskError, Connection, Server, ask};
use muster_protocol::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::agent::{Rig, Running};

struct Local {
    rig: Rig,
    agent: Running,
    socket: PathBuf,
    server: Server,
}

impl Local {
    async fn new(clients_max: usize) -> Self {
        let rig = Rig::new().await;
        let agent = rig.start();
        let socket = rig.folder.path().join("run/agent.sock");
        let settings = LocalApi { socket: socket.clone(), mode: 0o660, clients_max };
        let server = Server::open(&settings, agent.handle.clone()).unwrap();
        Self { rig, agent, socket, server }
    }

    async fn connect(&self) -> Connection {
        Connection::open(&self.socket).await.unwrap()
    }
}

fn code(error: AskError) -> String {
    match error {
        AskError::Refused { code, .. } => code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn programs_publish_and_subscribe_below_their_device() {
    let local = Local::new(8).await;
    local.agent.operational().await;
    let mut program = local.connect().await;
    let answer = program.ask(&json!({ "op": "subscribe", "filter": "commands/#", "id": 7 })).await.unwrap();
    assert_eq!((answer.ok, answer.id), (Some(true), Some(json!(7))));
    assert!(local.rig.gateway.seen().filters.contains(&"devices/dev-1/commands/#".to_owned()));
    local.rig.gateway.publish("devices/dev-1/commands/led", b"on");
    assert_eq!(program.next().await.unwrap().message, Some(json!({ "topic": "commands/led", "payload": "on" })));
    local.rig.gateway.publish("devices/dev-1/commands/raw", &[0xff, 0x00]);
    assert_eq!(program.next().await.unwrap().message, Some(json!({ "topic": "commands/raw", "payload_hex": "ff00" })));

    program.ask(&json!({ "op": "publish", "topic": "sensors/t", "payload": { "c": 21.5 } })).await.unwrap();
    let seen = local.rig.gateway.until("a reading", |seen| seen.publications.len() >= 2).await;
    assert!(seen.publications.contains(&("devices/dev-1/sensors/t".to_owned(), br#"{"c":21.5}"#.to_vec())));
    for topic in ["telemetry", "/x", "a/#"] {
        let error = program.ask(&json!({ "op": "publish", "topic": topic })).await.unwrap_err();
        assert!(code(error).starts_with("topic."), "{topic}");
    }
    local.agent.stop().await;
}

#[tokio::test]
async fn a_filter_outlives_a_session_and_a_rotation() {
    let local = Local::new(8).await;
    let mut program = local.connect().await;
    // Before there is a session at all.
    program.ask(&json!({ "op": "subscribe", "filter": "x" })).await.unwrap();
    local.agent.operational().await;
    let subscribed = |seen: &crate::gateway::Seen| seen.filters.iter().filter(|f| *f == "devices/dev-1/x").count();
    local.rig.gateway.until("the filter", |seen| subscribed(seen) == 1).await;
    local.agent.handle.rotate().await.unwrap();
    local.rig.gateway.until("the filter again", |seen| subscribed(seen) == 2).await;
    local.rig.gateway.publish("devices/dev-1/x", b"still");
    assert_eq!(program.next().await.unwrap().message, Some(json!({ "topic": "x", "payload": "still" })));
    local.agent.stop().await;
}

#[tokio::test]
async fn what_the_gateway_refuses_is_told_with_its_code_and_offline_is_offline() {
    let local = Local::new(8).await;
    local.agent.operational().await;
    let mut program = local.connect().await;
    local.rig.gateway.change(|plan| plan.refuse_publications = Some(Code::SessionTopicDenied));
    let error = program.ask(&json!({ "op": "publish", "topic": "a" })).await.unwrap_err();
    assert_eq!(code(error), "session.topic_denied");
    local.rig.gateway.change(|plan| plan.refuse_connect = Some(Code::SessionBusy));
    local.rig.gateway.cut(Code::SessionDraining);
    local.agent.until("the cut", |status| status.session.is_none()).await;
    let error = program.ask(&json!({ "op": "publish", "topic": "a" })).await.unwrap_err();
    assert_eq!(code(error), "agent.offline");
    local.agent.stop().await;
}

#[tokio::test]
async fn status_is_asked_watched_and_survives_nonsense() {
    let local = Local::new(8).await;
    let mut watcher = local.connect().await;
    let mut answer = watcher.ask(&json!({ "op": "watch" })).await.unwrap();
    while answer.status.as_ref().unwrap()["session"] != "a" {
        answer = watcher.next().await.unwrap();
    }
    let mut program = local.connect().await;
    assert_eq!(code(program.ask(&json!({ "op": "fly" })).await.unwrap_err()), "request.malformed");
    assert_eq!(code(program.ask(&json!([])).await.unwrap_err()), "request.malformed");
    let answer = program.ask(&json!({ "op": "status" })).await.unwrap();
    assert_eq!(answer.status.unwrap()["device"], "dev-1");
    local.agent.stop().await;
    // With the agent the socket ends, and its file goes.
    assert!(matches!(watcher_end(watcher).await, AskError::Io { .. }));
    local.server.close(Duration::from_secs(5)).await;
    assert!(matches!(ask(&local.socket, &json!({ "op": "status" })).await, Err(AskError::Nobody { .. })));
}

async fn watcher_end(mut watcher: Connection) -> AskError {
    loop {
        if let Err(error) = watcher.next().await {
            return error;
        }
    }
}

#[tokio::test]
async fn the_socket_has_its_mode_and_takes_the_place_of_a_dead_one() {
    let rig = Rig::new().await;
    let agent = rig.start();
    let socket = rig.folder.path().join("agent.sock");
    // What `kill -9` leaves.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let settings = LocalApi { socket: socket.clone(), mode: 0o600, clients_max: 1 };
    let _server = Server::open(&settings, agent.handle.clone()).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    ask(&socket, &json!({ "op": "status" })).await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn clients_and_lines_are_bounded() {
    let local = Local::new(1).await;
    let mut first = local.connect().await;
    first.ask(&json!({ "op": "status" })).await.unwrap();
    let turned_away = local.connect().await.next().await.unwrap_err();
    assert_eq!(code(turned_away), "agent.busy");

    let mut stream = {
        drop(first);
        // The place is free when the server has noticed.
        loop {
            let mut connection = local.connect().await;
            if connection.ask(&json!({ "op": "status" })).await.is_ok() {
                break;
            }
        }
        UnixStream::connect(&local.socket).await.unwrap()
    };
    let mut answer = String::new();
    loop {
        let _ = stream.write_all(&vec![b'x'; 200_000]).await;
        let mut reader = BufReader::new(&mut stream);
        answer.clear();
        let _ = reader.read_line(&mut answer).await;
        if !answer.contains("agent.busy") {
            break;
        }
        stream = UnixStream::connect(&local.socket).await.unwrap();
    }
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["code"], "request.oversized");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "and is dropped");
    local.agent.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_read_is_dropped_and_the_others_go_on() {
    let local = Local::new(8).await;
    local.agent.operational().await;
    let mut slow = UnixStream::connect(&local.socket).await.unwrap();
    slow.write_all(b"{\"op\":\"subscribe\",\"filter\":\"flood\"}\n").await.unwrap();
    local.rig.gateway.until("the filter", |seen| seen.filters.contains(&"devices/dev-1/flood".to_owned())).await;
    let mut quick = local.connect().await;
    quick.ask(&json!({ "op": "subscribe", "filter": "end" })).await.unwrap();
    // More than the socket's buffer and the queue hold together.
    for _ in 0..40 {
        for _ in 0..20 {
            local.rig.gateway.publish("devices/dev-1/flood", &[b'x'; 4096]);
        }
        let done = local.rig.gateway.seen().publications.len() + 1;
        local.agent.handle.publish("pace", "x".into(), muster_agent_std::mqtt::Quality::AtLeastOnce).await.unwrap();
        local.rig.gateway.until("the pace", |seen| seen.publications.len() >= done).await;
    }
    local.rig.gateway.publish("devices/dev-1/end", b"over");
    assert_eq!(quick.next().await.unwrap().message, Some(json!({ "topic": "end", "payload": "over" })));
    let mut got = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut got)).await;
    assert!(read.is_ok(), "a slow reader is not kept");
    let lines = got.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines < 800, "all {lines} were kept for it");
    local.agent.stop().await;
}
