//! `swarm`: many real agents in one process: own keys, own TLS, own sessions, one runtime. For tests and measurements.
//!
//! State goes below `--save` or into a folder that is removed at the end. It is safe against the end of the process,
//! not against a power cut: thousands of fsyncs would be all that is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use muster_terminal::{Exit, Failure, OrFail as _, Output, Progress, time};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::log;
use super::run::asked_to_stop;
use crate::agent::{Agent, Handle, KEYS, Setup, Status};
use crate::config::LogFormat;
use crate::durable::Durability;
use crate::identity::{Endpoint, IdentityPaths};

mod export;

/// Run many agents in one process, for tests and measurements
#[derive(Args, Debug)]
pub(super) struct Swarm {
    /// How many agents
    #[arg(long, value_name = "N")]
    count: usize,
    /// Folder with one identity folder per device
    #[arg(long, value_name = "DIR")]
    identities: PathBuf,
    /// The gateway, in place of the addresses in the identities
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    gateway: Endpoint,
    /// Keep the agents' state here, and leave DIR/<device-id>.crt and .key for other MQTT tools
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// End when all are enrolled
    #[arg(long)]
    once: bool,
    /// Seconds between two telemetry reports of each agent; 0 sends none
    #[arg(long, value_name = "S", default_value_t = 0)]
    telemetry_secs: u64,
    /// Agents that enrol or connect at the same time
    #[arg(long, value_name = "N", default_value_t = 128)]
    parallel: usize,
    /// Give up on those that are not enrolled after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).ok_or_else(|| "not HOST:PORT".to_owned())
}

impl Swarm {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        log("error", LogFormat::Text)?;
        let identities = self.identities()?;
        let state = State::open(self.save.as_deref())?;
        let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
        let runtime = runtime.or_fail("runtime.failed", "cannot start")?;
        let outcome = runtime.block_on(self.swarm(identities, state.folder(), output));
        runtime.shutdown_timeout(Duration::from_secs(2));
        outcome
    }

    /// The first `--count` identity folders by name.
    fn identities(&self) -> Result<Vec<PathBuf>, Failure> {
        let shown = self.identities.display();
        let entries =
            fs::read_dir(&self.identities).or_fail("identities.unreadable", &format!("cannot read {shown}"))?;
        let mut folders: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.join("idevid.crt").is_file()).collect();
        folders.sort();
        if folders.len() < self.count {
            return Err(Failure::not_found(
                "identities.too_few",
                format!("{shown} has {} identities, and {} are asked for", folders.len(), self.count),
            )
            .hint("make more with `muster-provision batch make`"));
        }
        folders.truncate(self.count);
        Ok(folders)
    }

    async fn swarm(&self, identities: Vec<PathBuf>, state: &Path, output: &Output) -> Result<Exit, Failure> {
        let started = Instant::now();
        let room = Arc::new(Semaphore::new(self.parallel.max(1)));
        let (outcomes, mut decided) = mpsc::channel(self.count.max(1));
        let mut members = JoinSet::new();
        let mut handles = Vec::with_capacity(self.count);
        for folder in identities {
            let member = Member { setup: self.setup(&folder, state), export: self.save.clone() };
            let (handle, agent) = member.open()?;
            handles.push(handle.clone());
            members.spawn(member.live(agent, handle, Arc::clone(&room), outcomes.clone()));
        }
        drop(outcomes);

        let progress = Progress::new(output, "agents operational", self.count as u64);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.timeout);
        let mut took = Vec::with_capacity(self.count);
        let mut refused = 0;
        let mut is_stopped = false;
        let signal = asked_to_stop();
        tokio::pin!(signal);
        while took.len() + refused < self.count && !is_stopped {
            tokio::select! {
                one = decided.recv() => match one {
                    Some(Outcome::Operational(length)) => {
                        took.push(length);
                        progress.advance(1);
                    }
                    Some(Outcome::Refused) => refused += 1,
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => break,
                () = &mut signal => is_stopped = true,
            }
        }
        let summary = Summary::new(self.count, took, started.elapsed());
        progress.finish(&format!("{} of {} agents are operational", summary.enrolled, summary.count));
        summary.print(output)?;
        if !self.once && !is_stopped {
            output.note("connected; SIGTERM or Ctrl-C ends");
            // Until told to end, or until every agent has ended by itself: retired, or broken down.
            tokio::select! {
                () = &mut signal => {}
                () = async { while members.join_next().await.is_some() {} } => {}
            }
        }
        for handle in &handles {
            handle.stop().await;
        }
        let _ = tokio::time::timeout(STOP_MAX, async { while members.join_next().await.is_some() {} }).await;
        summary.verdict(&handles)
    }

    fn setup(&self, identity: &Path, state: &Path) -> Setup {
        let mut paths = IdentityPaths::in_folder(identity);
        paths.gateway_instead = Some(self.gateway.clone());
        Setup {
            state_dir: state.join(identity.file_name().unwrap_or_default()),
            identity: paths,
            telemetry: (self.telemetry_secs > 0).then(|| Duration::from_secs(self.telemetry_secs)),
            keep_alive: Duration::from_secs(60),
            settings: muster_protocol::device::Settings::default(),
            durability: Durability::ProcessEnd,
        }
    }
}

/// One agent of the swarm.
struct Member {
    setup: Setup,
    export: Option<PathBuf>,
}

impl Member {
    fn open(&self) -> Result<(Handle, Agent), Failure> {
        let agent = Agent::open(self.setup.clone())?;
        Ok((agent.handle(), agent))
    }

    /// Runs the agent to its end; tells what came of its first attempts.
    async fn live(self, agent: Agent, handle: Handle, room: Arc<Semaphore>, outcome: mpsc::Sender<Outcome>) {
        let Ok(permit) = room.acquire_owned().await else { return };
        let started = Instant::now();
        let run = agent.run();
        tokio::pin!(run);
        let decided = |status: &Arc<Status>| status.is_operational() || is_hopeless(status);
        tokio::select! {
            _ = &mut run => return,
            reached = handle.until(decided) => {
                if reached.is_err() {
                    return;
                }
            }
        }
        drop(permit);
        let status = handle.status();
        let _ = if status.is_operational() {
            self.export(&status);
            outcome.send(Outcome::Operational(started.elapsed())).await
        } else {
            outcome.send(Outcome::Refused).await
        };
        drop(outcome);

        let mut generation = status.generation();
        let mut status = handle.watch();
        loop {
            tokio::select! {
                _ = &mut run => return,
                changed = status.changed() => {
                    let now = Arc::clone(&status.borrow_and_update());
                    if changed.is_ok() && now.is_operational() && now.generation() != generation {
                        generation = now.generation();
                        self.export(&now);
                    }
                }
            }
        }
    }

    fn export(&self, status: &Status) {
        if let Some(folder) = &self.export {
            let keys = self.setup.state_dir.join(KEYS);
            if let Err(error) = export::export(status, &self.setup.state_dir, &keys, folder) {
                tracing::error!(event = "swarm.export_failed", device = status.device, error = %error);
            }
        }
    }
}

/// What came of an agent's first attempts.
enum Outcome {
    /// It is operational, after so long.
    Operational(Duration),
    /// The gateway said what only an operator can change. It goes on trying.
    Refused,
}

fn is_hopeless(status: &Arc<Status>) -> bool {
    super::seen(status).last_refusal.is_some_and(|refusal| refusal.asks_operator())
}

/// Where the agents keep their state.
enum State {
    Kept(PathBuf),
    /// Removed at the end.
    Passing(PathBuf),
}

impl State {
    fn open(save: Option<&Path>) -> Result<Self, Failure> {
        let folder = match save {
            Some(folder) => folder.join("state"),
            None => std::env::temp_dir().join(format!("muster-swarm-{}", std::process::id())),
        };
        let what = format!("cannot make {}", folder.display());
        fs::create_dir_all(&folder).or_fail("save.unusable", &what)?;
        Ok(if save.is_some() { Self::Kept(folder) } else { Self::Passing(folder) })
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Kept(folder) | Self::Passing(folder) => folder,
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Self::Passing(folder) = self {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

struct Summary {
    count: usize,
    enrolled: usize,
    elapsed: Duration,
    /// From an agent's start to its first operational session; half of them and 99 of 100 were at most so long.
    p50: Duration,
    p99: Duration,
}

impl Summary {
    fn new(count: usize, mut took: Vec<Duration>, elapsed: Duration) -> Self {
        took.sort();
        let at = |percent: usize| {
            let index = (took.len() * percent).div_ceil(100).saturating_sub(1);
            took.get(index).copied().unwrap_or_default()
        };
        Self { count, enrolled: took.len(), elapsed, p50: at(50), p99: at(99) }
    }

    fn print(&self, output: &Output) -> Result<(), Failure> {
        let per_second = self.enrolled as f64 / self.elapsed.as_secs_f64().max(0.001);
        let record = json!({
            "count": self.count,
            "enrolled": self.enrolled,
            "failed": self.count - self.enrolled,
            "elapsed_millis": millis(self.elapsed),
            "per_second": (per_second * 10.0).round() / 10.0,
            "p50_millis": millis(self.p50),
            "p99_millis": millis(self.p99),
        });
        output.record(record, || {
            format!(
                "{} of {} operational in {}, {per_second:.1} a second; half within {}, 99 of 100 within {}",
                self.enrolled,
                self.count,
                time::duration(self.elapsed),
                time::duration(self.p50),
                time::duration(self.p99),
            )
        })
    }

    fn verdict(&self, handles: &[Handle]) -> Result<Exit, Failure> {
        if self.enrolled == self.count {
            return Ok(Exit::Done);
        }
        let missing = self.count - self.enrolled;
        let failure = Failure::failed("swarm.incomplete", format!("{missing} agents did not become operational"));
        let refusal = handles.iter().find_map(|handle| handle.status().last_refusal.clone());
        Err(match refusal {
            Some(refusal) => failure.hint(format!("one of them: {}: {}", refusal.code, refusal.hint)),
            None => failure.hint("check that the gateway runs and that this address reaches it"),
        })
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Worker threads only poll; the deepest stack is a handshake's.
const STACK_BYTES: usize = 1024 * 1024;
const STOP_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_none() {
        let of = |secs: &[u64]| {
            let took = secs.iter().copied().map(Duration::from_secs).collect();
            let summary = Summary::new(9, took, Duration::from_secs(1));
            (summary.p50.as_secs(), summary.p99.as_secs())
        };
        assert_eq!(of(&[]), (0, 0));
        assert_eq!(of(&[7]), (7, 7));
        assert_eq!(of(&[3, 1, 2, 4]), (2, 4));
    }
}
