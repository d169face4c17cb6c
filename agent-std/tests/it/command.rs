//! The program itself: what it prints, and how it exits.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use muster_protocol::Code;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::agent::Rig;

impl Rig {
    /// Writes a configuration and gives its path.
    fn config(&self) -> PathBuf {
        let path = self.folder.path().join("agent.toml");
        let text = "state_dir = \"state\"\n[identity]\ndir = \"identity\"\n[local_api]\nsocket = \"agent.sock\"\n\
                    [settings]\nbackoff_millis_min = 10\nbackoff_millis_max = 50\noperator_backoff_millis_min = 50\n\
                    operator_backoff_millis_max = 100\ntrial_pause_millis = 20\n";
        // Once: an agent may be reading it.
        if !path.exists() {
            std::fs::write(&path, text).unwrap();
        }
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
        command.args(arguments).kill_on_drop(true).env_remove("NOTIFY_SOCKET").env_remove("MUSTER_LOG");
        command
    }

    async fn do_it(&self, act: &str, more: &[&str]) -> Output {
        let config = self.config();
        let mut command = self.command(&[act, "--config", config.to_str().unwrap(), "--json"]);
        command.args(more).output().await.unwrap()
    }

    fn run(&self) -> Child {
        let config = self.config();
        self.command(&["run", "--config", config.to_str().unwrap()]).spawn().unwrap()
    }

    async fn status(&self) -> Value {
        let output = self.do_it("status", &[]).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn until_operational(&self) -> Value {
        for _ in 0..200 {
            let status = self.status().await;
            if status["session"] == status["active"] && status["session"].is_string() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not operational: {}", self.status().await);
    }
}

fn object(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(bytes)))
}

#[tokio::test]
async fn enrols_once_and_tells_the_status_from_files() {
    let rig = Rig::new().await;
    let status = rig.status().await;
    assert_eq!((&status["state"], &status["agent"]), (&"manufactured".into(), &"stopped".into()));
    let output = rig.do_it("status", &["--check"]).await;
    assert_eq!(output.status.code(), Some(1));

    let output = rig.do_it("enrol", &["--timeout", "30"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(object(&output.stdout)["generation"], 1);
    let status = rig.status().await;
    assert_eq!(status["state"], "operational");
    assert!(matches!(status["slots"][0]["days_left"].as_i64(), Some(6 | 7)), "{status}");
    assert!(status["slots"][0]["not_after"].as_str().unwrap().ends_with('Z'));

    let output = rig.do_it("rotate", &["--timeout", "30"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rig.status().await["slots"][1]["phase"], "confirmed");
}

#[tokio::test]
async fn a_refusal_is_exit_3_with_the_gateways_code() {
    let rig = Rig::new().await;
    rig.gateway.change(|plan| plan.refuse_connect = Some(Code::DeviceUnknown));
    let output = rig.do_it("enrol", &[]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let failure = object(&output.stderr);
    assert_eq!(failure["code"], "device.unknown");
    assert!(failure["hint"].as_str().unwrap().contains("manifest import"));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_running_agent_answers_rotates_and_stops() {
    let rig = Rig::new().await;
    let mut child = rig.run();
    let status = rig.until_operational().await;
    assert_eq!(status["agent"], "running");
    // Another one has no business here.
    let output = rig.do_it("run", &[]).await;
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(3), &"agent.running".into()));
    // But asking for what is so already is no error.
    assert!(rig.do_it("enrol", &["--timeout", "5"]).await.status.success());

    let output = rig.do_it("rotate", &["--timeout", "30"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(object(&output.stdout)["generation"], 2);
    let id = child.id().unwrap();
    let killed = Command::new("kill").args(["-TERM", &id.to_string()]).status().await.unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert!(!rig.folder.path().join("agent.sock").exists());
}

#[tokio::test]
async fn retiring_asks_first_and_is_final() {
    let rig = Rig::new().await;
    let mut child = rig.run();
    rig.until_operational().await;
    let output = rig.do_it("retire", &[]).await;
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(2), &"confirmation.needed".into()));
    let output = rig.do_it("retire", &["--yes"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_eq!(rig.gateway.seen().retired, ["dev-1"]);
    assert_eq!(rig.status().await["state"], "retired");
    let output = rig.do_it("run", &[]).await;
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(3), &"device.retired".into()));
}

#[tokio::test]
async fn killed_and_started_again_it_goes_on_with_the_same_certificate() {
    let rig = Rig::new().await;
    let mut child = rig.run();
    let before = rig.until_operational().await;
    child.kill().await.unwrap();
    assert_eq!(rig.status().await["agent"], "stopped");
    let mut child = rig.run();
    let after = rig.until_operational().await;
    assert_eq!(before["slots"][0]["serial"], after["slots"][0]["serial"]);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn wrong_configurations_are_named() {
    let rig = Rig::new().await;
    let output = rig.command(&["run", "--config", "/nowhere/agent.toml", "--json"]).output().await.unwrap();
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(4), &"config.missing".into()));
    let path = rig.folder.path().join("wrong.toml");
    std::fs::write(&path, "stat_dir = 1").unwrap();
    let output = rig.command(&["run", "--config", path.to_str().unwrap(), "--json"]).output().await.unwrap();
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(2), &"config.invalid".into()));
    std::fs::remove_file(rig.identity().join("idevid.key")).unwrap();
    let output = rig.do_it("enrol", &[]).await;
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(1), &"key.unusable".into()));
    assert_eq!(rig.command(&["fly"]).output().await.unwrap().status.code(), Some(2));
}

#[tokio::test]
async fn a_swarm_enrols_saves_its_credentials_and_ends() {
    let rig = Rig::new().await;
    let identities = rig.folder.path().join("batch");
    let bundle = rig.fleet.bundle(1, &[&rig.fleet.gateway_ca.der()], 1, 1);
    for index in 0..12 {
        let device = format!("swarm-{index:02}");
        rig.fleet.make_identity(&identities.join(&device), &device, &rig.fleet.fleet_file(&bundle));
    }
    let (save, gateway) = (rig.folder.path().join("save"), rig.gateway.address.to_string());
    let swarm = |count: &str| {
        let mut command = rig.command(&["swarm", "--count", count, "--once", "--json", "--timeout", "60"]);
        command.arg("--identities").arg(&identities).arg("--save").arg(&save).args(["--gateway", &gateway]);
        command
    };
    for _ in 0..2 {
        let output = swarm("12").output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let summary = object(&output.stdout);
        assert_eq!((&summary["enrolled"], &summary["failed"]), (&12.into(), &0.into()));
    }
    assert_eq!(rig.gateway.seen().confirmed.len(), 12, "the second run uses what the first one saved");
    for index in 0..12 {
        let certificate = std::fs::read_to_string(save.join(format!("swarm-{index:02}.crt"))).unwrap();
        let key = std::fs::read_to_string(save.join(format!("swarm-{index:02}.key"))).unwrap();
        assert!(
            certificate.starts_with("-----BEGIN CERTIFICATE-----") && key.starts_with("-----BEGIN PRIVATE KEY-----")
        );
    }
    // Who cannot come in is not waited for.
    rig.gateway.change(|plan| plan.refuse_connect = Some(Code::DeviceSuspended));
    let output = swarm("2").output().await.unwrap();
    let failure = object(&output.stderr);
    assert_eq!((output.status.code(), &failure["code"]), (Some(1), &"swarm.incomplete".into()));
    assert!(failure["hint"].as_str().unwrap().contains("device.suspended"), "{failure}");
    let output = swarm("13").output().await.unwrap();
    assert_eq!((output.status.code(), &object(&output.stderr)["code"]), (Some(4), &"identities.too_few".into()));
}
