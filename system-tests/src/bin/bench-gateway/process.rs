//! Processor time and memory of another process, as Linux counts them (proc(5)).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process has used so far, by thread. `/proc/PID/stat` counts in hundredths of a second; `schedstat` counts the
/// same in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Used(HashMap<String, u64>);

impl Used {
    /// Reads it now.
    pub(crate) fn read(process: u32) -> Result<Self> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{process}/task")).context("the server is gone")? {
            let entry = entry?;
            // A thread may end while it is looked at.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
            threads.insert(entry.file_name().to_string_lossy().into_owned(), nanos.context("schedstat is no number")?);
        }
        Ok(Self(threads))
    }

    /// What was used between `earlier` and this.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let used = |(thread, now): (&String, &u64)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0));
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

/// Its own memory and its share of what it shares: proportional set size, in bytes.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).context("the server is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("Pss is no number")?;
    Ok(kib * 1024)
}

/// The machine's load in the last minute.
pub(crate) fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split_whitespace().next().and_then(|first| first.parse().ok()).context("no load")
}

/// Measures what a process uses for some work, without what it uses when nothing is asked of it.
#[derive(Debug)]
pub(crate) struct Meter {
    process: u32,
    idle_per_second: Duration,
}

impl Meter {
    /// Looks at the process doing nothing for a while.
    pub(crate) async fn idle(process: u32) -> Result<Self> {
        let before = Used::read(process)?;
        tokio::time::sleep(IDLE_LOOK).await;
        let used = Used::read(process)?.since(&before);
        Ok(Self { process, idle_per_second: used.div_f64(IDLE_LOOK.as_secs_f64()) })
    }

    /// The processor time of `work`, its after-effects (records, closings) included.
    pub(crate) async fn around<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
        let (begun, before) = (std::time::Instant::now(), Used::read(self.process)?);
        let done = work.await?;
        tokio::time::sleep(AFTER).await;
        let used = Used::read(self.process)?.since(&before);
        Ok((done, used.saturating_sub(self.idle_per_second.mul_f64(begun.elapsed().as_secs_f64()))))
    }
}

const IDLE_LOOK: Duration = Duration::from_millis(1000);
const AFTER: Duration = Duration::from_millis(200);
