//! `audit tail --follow` as a process beside a running gateway: what happens comes out of it, and it ends when told.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use muster_gateway::admin::Caller;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::edge::Running;
use crate::world::id;

fn follow(running: &Running, more: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_muster-gateway"))
        .args(["audit", "tail", "--follow", "--dir"])
        .arg(running.directory.root())
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    assert!(out.read_line(&mut line).unwrap() > 0, "it ended");
    line
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

async fn act(running: &Running) {
    running.gateway.operations().suspend(&Caller::local(), &id("d1"), None).await.unwrap();
    running.gateway.operations().resume(&Caller::local(), &id("d1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_records_come_as_they_happen_until_it_is_interrupted() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let (mut child, mut out) = follow(&running, &["--json", "--kind", "device,manifest.imported"]);
    let record = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let first = record(line(&mut out));
    assert_eq!((&first["v"], &first["kind"]), (&1.into(), &"manifest.imported".into()));
    // It follows now; what happens from here on is new to it.
    act(&running).await;
    let (suspended, resumed) = (record(line(&mut out)), record(line(&mut out)));
    assert_eq!((&suspended["kind"], &suspended["device"]), (&"device.suspended".into(), &"d1".into()));
    assert_eq!(resumed["kind"], "device.resumed");
    assert!(resumed["seq"].as_u64() > suspended["seq"].as_u64());

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((status.signal(), rest.as_str(), said(&mut child).as_str()), (Some(2), "", ""), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_peace_when_nobody_reads_any_more() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let (mut child, mut out) = follow(&running, &["--kind", "manifest,device"]);
    assert!(line(&mut out).contains("manifest.imported"));
    drop(out);
    act(&running).await;
    let status = tokio::task::block_in_place(|| child.wait().unwrap());
    assert_eq!((status.code(), said(&mut child).as_str()), (Some(0), ""), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_an_error_when_the_gateway_does() {
    let running = Running::start().await;
    let (mut child, mut out) = follow(&running, &["--json", "--kind", "factory_ca"]);
    line(&mut out);
    running.gateway.drain().await;
    let status = tokio::task::block_in_place(|| child.wait().unwrap());
    let told = said(&mut child);
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(serde_json::from_str::<Value>(told.lines().last().unwrap()).unwrap()["code"].is_string(), "{told}");
}
