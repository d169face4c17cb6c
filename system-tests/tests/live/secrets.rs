//! No private key stands anywhere but in its own key file.

use std::fs;
use std::path::{Path, PathBuf};

use muster_issuing::KeyPair;
use muster_system_tests::live::{Options, World, until};

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_stay_in_their_files() {
    let world = World::new(Options::default()).unwrap();
    let device = world.device(0).unwrap();
    let agent = world.start_agent(&device).unwrap();
    until("active", || Ok((world.show(&device)?["standing"] == "active").then_some(()))).unwrap();
    world.gateway(&["operator", "issue", "ada", "--role", "admin", "--out", &world.text("operators")]).unwrap();
    let command_line = fs::read(format!("/proc/{}/cmdline", agent.id())).unwrap();

    let mut all = Vec::new();
    files(world.root(), &mut all);
    let (keys, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|path| path.extension().is_some_and(|end| end == "key"));
    let mut secrets = Vec::new();
    for path in &keys {
        let text = fs::read_to_string(path).unwrap();
        if let Ok(key) = KeyPair::from_pem(&text) {
            let der = key.to_der().unwrap();
            // PKCS#8 of P-256: the scalar stands behind the version and the algorithm (RFC 5915).
            let scalar = der[36..68].to_vec();
            assert_eq!(
                KeyPair::from_scalar(&scalar.clone().try_into().unwrap()).unwrap().public_key(),
                key.public_key()
            );
            let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            secrets.push((path.clone(), scalar, body));
        }
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{} is open to others", path.display());
    }
    assert!(secrets.len() >= 6, "device, factory, gateway and operator keys were looked for: {}", secrets.len());
    for (path, scalar, body) in &secrets {
        let needles = [
            scalar.clone(),
            hex(scalar).into_bytes(),
            hex(scalar).to_uppercase().into_bytes(),
            body.as_bytes()[20..60].to_vec(),
        ];
        let holds =
            |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle));
        for other in &others {
            assert!(!holds(&fs::read(other).unwrap()), "the key of {} stands in {}", path.display(), other.display());
        }
        assert!(!holds(&command_line), "the key of {} stands in a command line", path.display());
    }
}
