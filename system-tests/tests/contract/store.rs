//! The gateway's store: SQLite, and SQLite behind a `FaultyStore` whose faults are off.

use muster_gateway::store::{Faults, FaultyStore, SqliteStore};
use muster_system_tests::contract::store::run;
use tempfile::TempDir;

/// Directories live until the end of the test, and so does the list of them.
#[derive(Default)]
struct Directories(std::sync::Mutex<Vec<TempDir>>);

impl Directories {
    fn open(&self) -> SqliteStore {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        self.0.lock().unwrap().push(directory);
        store
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    let directories = Directories::default();
    run(async || directories.open()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_store_without_faults_keeps_the_contract() {
    let directories = Directories::default();
    run(async || FaultyStore::new(directories.open(), 1, Faults::NONE)).await;
}
