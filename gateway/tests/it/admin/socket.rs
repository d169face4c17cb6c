//! The admin socket: what it answers, and what it does not fall over.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use muster_gateway::admin::socket::AdminSocket;
use serde_json::{Value, json};

use crate::world::World;

struct Served {
    world: World,
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let world = World::new();
        // One that a killed gateway left behind is no hindrance.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = AdminSocket::bind(&path).unwrap();
        let task = tokio::spawn(socket.serve(Arc::clone(&world.operations)));
        Self { world, path, task, _folder: folder }
    }

    async fn ask(&self, bytes: Vec<u8>) -> Vec<Value> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            BufReader::new(stream)
                .lines()
                .map_while(Result::ok)
                .map(|line| serde_json::from_str(&line).unwrap())
                .collect()
        })
        .await
        .unwrap()
    }
}

fn line(request: &Value, body_bytes: usize) -> Vec<u8> {
    let mut line = json!({ "v": 1, "request": request, "body_bytes": body_bytes }).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_in_order_and_bodies_taken() {
    let served = Served::new();
    assert_eq!(std::fs::metadata(&served.path).unwrap().permissions().mode() & 0o777, 0o600);
    let device = served.world.factory.device("pump-1");
    let manifest = served.world.factory.manifest(&[&device]);
    let root = muster_issuing::pem::write_certificates(&[served.world.factory.root.certificate()]);
    let mut bytes = line(&json!({ "operation": "factory_ca_add", "certificates": root }), 0);
    bytes.extend(line(&json!({ "operation": "manifest_import" }), manifest.len()));
    bytes.extend(manifest);
    bytes.extend(line(&json!({ "operation": "device_suspend", "device": "pump-1", "reason": null }), 0));
    bytes.extend(line(&json!({ "operation": "device_show", "device": "nobody" }), 0));
    bytes.extend(line(&json!({ "operation": "status" }), 0));
    let answers = served.ask(bytes).await;
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert_eq!(answers[1]["answer"]["added"], 1);
    assert_eq!(answers[2]["answer"]["standing"], "suspended");
    assert_eq!(
        (&answers[3]["error"]["code"], &answers[3]["error"]["blame"]),
        (&json!("device.unknown"), &json!("missing"))
    );
    assert_eq!(answers[4]["answer"]["devices"]["suspended"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_and_the_next_is_served() {
    let served = Served::new();
    let huge = line(&json!({ "operation": "manifest_import" }), usize::MAX >> 1);
    let long = vec![b'x'; 2 << 20];
    let version = br#"{"v":2,"request":{"operation":"status"}}"#;
    for bytes in [b"hello\n".to_vec(), huge, long, [&version[..], b"\n"].concat(), b"{\"v\":1}\n".to_vec()] {
        let answers = served.ask(bytes).await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0]["error"]["code"], "message.malformed");
    }
    // A body that never comes is not waited for once the other end is gone.
    assert!(served.ask(line(&json!({ "operation": "manifest_import" }), 1000)).await.is_empty());
    assert_eq!(served.ask(line(&json!({ "operation": "status" }), 0)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_goes_with_the_gateway() {
    let served = Served::new();
    served.task.abort();
    let _ = served.task.await;
    assert!(!served.path.exists());
}
