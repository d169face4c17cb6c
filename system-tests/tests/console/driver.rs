//! Starts node with a script, and does what the script asks of the world.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use muster_system_tests::live::{PATIENCE, Process, Said, World};
use serde_json::{Value, json};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Runs a script to its end; it fails when a check in it fails.
pub(crate) fn drive(world: World, script: &str) {
    let mut stage = Stage { world, agents: HashMap::new() };
    let mut browser = Browser::start(&stage, script);
    while let Some(line) = browser.next_line() {
        let Ok(question) = serde_json::from_str::<Value>(&line) else {
            eprintln!("{line}");
            continue;
        };
        let answer = match stage.act(&question) {
            Ok(answer) => json!({ "answer": answer }),
            Err(error) => json!({ "error": format!("{question}: {error:#}") }),
        };
        browser.say(&answer);
    }
    let status = browser.child.wait().unwrap();
    assert!(status.success(), "{script}: {status}; the gateway's log:\n{}", stage.world.log_tail("gateway.log"));
}

struct Stage {
    world: World,
    agents: HashMap<u32, Process>,
}

impl Stage {
    fn act(&mut self, question: &Value) -> anyhow::Result<Value> {
        let index = u32::try_from(question["device"].as_u64().unwrap_or_default())?;
        match question["do"].as_str().unwrap_or_default() {
            "start-agent" => {
                let device = self.world.device(index)?;
                self.agents.insert(index, self.world.start_agent(&device)?);
                Ok(json!(device.id))
            }
            "stop-agent" => {
                self.agents.remove(&index).map_or(Ok(Value::Null), |agent| agent.kill().map(|()| Value::Null))
            }
            "gateway" => {
                let words: Vec<&str> =
                    question["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                self.world.gateway(&words)
            }
            "stop-gateway" => self.world.stop_gateway().map(|()| Value::Null),
            "start-gateway" => self.world.start_gateway().map(|_| Value::Null),
            "enrol" => self.enrol(),
            "publish" => self.publish(index, question["hex"].as_str().unwrap_or_default()),
            other => anyhow::bail!("nobody knows how to {other:?}"),
        }
    }

    /// Gives the devices certificates, as files for other MQTT tools.
    fn enrol(&self) -> anyhow::Result<Value> {
        let gateway = format!("localhost:{}", self.world.ports()?.mqtt);
        let mut swarm = self.world.program("muster-agent");
        swarm.args(["swarm", "--once", "--count", "2", "--gateway", &gateway, "--identities"]);
        swarm.arg(self.world.path("batch")).arg("--save").arg(self.world.path("saved"));
        Said::by(&mut swarm)?.done()?;
        Ok(json!(self.world.text("saved")))
    }

    /// Publishes telemetry with a device's own certificate and another's MQTT client.
    fn publish(&self, index: u32, hex: &str) -> anyhow::Result<Value> {
        let id = self.world.device(index)?.id;
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
        let payload = (0..hex.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, _>>()?;
        let file = self.world.path("payload");
        std::fs::write(&file, payload)?;
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "localhost", "-p", &self.world.ports()?.mqtt.to_string(), "-V", "5", "-q", "1", "-i", &id]);
        publish.arg("--cafile").arg(self.world.path("gateway/ca/gateway-ca.crt"));
        publish.arg("--cert").arg(self.world.path(&format!("saved/{id}.crt")));
        publish.arg("--key").arg(self.world.path(&format!("saved/{id}.key")));
        publish.args(["-t", &format!("devices/{id}/telemetry"), "-f"]).arg(&file);
        Said::by(&mut publish)?.done()?;
        Ok(json!(id))
    }
}

/// Node with a script, and through it the browser.
struct Browser {
    child: Child,
    answers: ChildStdin,
    questions: Receiver<String>,
}

impl Browser {
    fn start(stage: &Stage, script: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console");
        let needed = [Path::new(CHROMIUM).to_owned(), folder.join("node_modules/playwright-core/package.json")];
        for file in needed {
            assert!(file.is_file(), "{} is not there; install it: cargo xtask tools", file.display());
        }
        let screenshots = std::env::var_os("MUSTER_SCREENSHOTS").map(PathBuf::from);
        let stage = json!({
            "base": format!("https://localhost:{}", stage.world.ports().unwrap().https),
            "operators": stage.world.text("operators"),
            "password": std::fs::read_to_string(stage.world.path("password")).unwrap().trim_end(),
            "chromium": CHROMIUM,
            "screenshots": screenshots,
        });
        let mut command = Command::new("node");
        command.current_dir(&folder).arg(script).env("MUSTER_STAGE", stage.to_string());
        // The gateway's certificate is checked as everywhere.
        let gateway_ca = Path::new(stage["operators"].as_str().unwrap()).join("gateway-ca.crt");
        command.env("NODE_EXTRA_CA_CERTS", gateway_ca);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            spawned.unwrap_or_else(|error| panic!("cannot start node ({error}); install it: cargo xtask tools"));
        let answers = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (said, questions) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, answers, questions }
    }

    fn next_line(&mut self) -> Option<String> {
        match self.questions.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                self.child.kill().unwrap();
                panic!("the browser did nothing for {} seconds", PATIENCE.as_secs());
            }
        }
    }

    fn say(&mut self, answer: &Value) {
        writeln!(self.answers, "{answer}").unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
