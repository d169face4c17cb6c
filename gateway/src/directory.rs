//! The gateway's directory: what lies where, and who may read it.
//!
//! | path | what | mode |
//! |---|---|---|
//! | `.` | the directory itself | 0700 |
//! | `gateway.toml` | settings ([`crate::config`]) | 0600 |
//! | `fleet.muster` | pins and the newest signed trust bundle | 0644 |
//! | `ca/{device-ca,gateway-ca,operator-ca}.crt` | CA certificates, PEM | 0644 |
//! | `ca/{device-ca,gateway-ca,operator-ca}.key` | their keys, PEM | 0600 |
//! | `server.crt`, `server.key` | the gateway's own credential | 0644, 0600 |
//! | `offline/{fleet-root,fleet-backup}.key` | encrypted; to be taken away after `init` | 0600 |
//! | `muster.db` | the database ([`crate::store`]) | 0600 |
//! | `admin.sock` | the admin socket of a running gateway | 0600 |
//! | `lock` | held by whoever has the directory open for writing | 0600 |
//!
//! What the files hold is not known here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use crate::store::DATABASE_FILE;

mod error;
mod file;

pub use error::DirectoryError;
pub use file::{Access, read_private, read_public, replace, write_new};

use error::io_error;
use file::check_private;

/// A gateway's directory. Holds only the path; [`Directory::open`] checks what is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directory {
    root: PathBuf,
}

/// One of the gateway's three CAs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Authority {
    /// Issues LDevIDs.
    Device,
    /// Issues the gateway's own server certificate.
    Gateway,
    /// Issues the certificates of services and operators.
    Operator,
}

impl Authority {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Device, Self::Gateway, Self::Operator];

    /// The stem of its file names.
    #[must_use]
    pub const fn stem(self) -> &'static str {
        match self {
            Self::Device => "device-ca",
            Self::Gateway => "gateway-ca",
            Self::Operator => "operator-ca",
        }
    }
}

/// That this process alone has the directory. Dropped with the process at the latest.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl Directory {
    /// The directory at `root`, unseen.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A directory that was set up, its permissions checked.
    ///
    /// # Errors
    /// When something is missing, open to others, or somebody else's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let directory = Self::at(root);
        for path in directory.expected() {
            match fs::symlink_metadata(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let missing = path.strip_prefix(&directory.root).unwrap_or(&path).display().to_string();
                    let missing = if missing.is_empty() { "the directory".to_owned() } else { missing };
                    return Err(DirectoryError::NotSetUp { root: directory.root, missing });
                }
                Err(error) => return Err(io_error("look at", &path)(error)),
            }
        }
        directory.check_folders()?;
        Ok(directory)
    }

    /// Makes the directory and its folders, as far as they are not there. A directory that is there and empty is closed to
    /// others.
    ///
    /// # Errors
    /// When one cannot be made, or one that is there is open to others or somebody else's.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let directory = Self::at(root);
        if fs::read_dir(&directory.root).is_ok_and(|mut entries| entries.next().is_none()) {
            let closed = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&directory.root, closed).map_err(io_error("close to others", &directory.root))?;
        }
        for folder in directory.folders() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error("make", &folder))?;
        }
        directory.check_folders()?;
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("gateway.toml")
    }

    /// Pins and trust bundle.
    #[must_use]
    pub fn fleet(&self) -> PathBuf {
        self.root.join("fleet.muster")
    }

    /// Certificate of a CA.
    #[must_use]
    pub fn ca_certificate(&self, authority: Authority) -> PathBuf {
        self.root.join(format!("ca/{}.crt", authority.stem()))
    }

    /// Key of a CA.
    #[must_use]
    pub fn ca_key(&self, authority: Authority) -> PathBuf {
        self.root.join(format!("ca/{}.key", authority.stem()))
    }

    /// The gateway's own certificate.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.root.join("server.crt")
    }

    /// The gateway's own key.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.root.join("server.key")
    }

    /// The fleet root's key, encrypted.
    #[must_use]
    pub fn fleet_root_key(&self) -> PathBuf {
        self.root.join("offline/fleet-root.key")
    }

    /// The fleet's backup key, encrypted.
    #[must_use]
    pub fn fleet_backup_key(&self) -> PathBuf {
        self.root.join("offline/fleet-backup.key")
    }

    /// What should be taken away after `init`.
    #[must_use]
    pub fn offline(&self) -> PathBuf {
        self.root.join("offline")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join(DATABASE_FILE)
    }

    /// The admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.root.join("admin.sock")
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// [`DirectoryError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<DirectoryLock, DirectoryError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(io_error("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::Locked { root: self.root.clone() }),
            Err(error) => Err(io_error("lock", &path)(error.into())),
        }
    }

    fn folders(&self) -> [PathBuf; 3] {
        [self.root.clone(), self.root.join("ca"), self.offline()]
    }

    /// What a gateway cannot do without. `offline` is not among it, for it should be gone.
    fn expected(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.root.clone(), self.config(), self.fleet()];
        for authority in Authority::ALL {
            paths.push(self.ca_certificate(authority));
            paths.push(self.ca_key(authority));
        }
        paths.push(self.database());
        paths
    }

    fn check_folders(&self) -> Result<(), DirectoryError> {
        for folder in self.folders() {
            match fs::symlink_metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => check_private(&folder, &metadata)?,
                Ok(_) => return Err(DirectoryError::WrongKind { path: folder }),
                // Taken away, as it should be.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != self.root => {}
                Err(error) => return Err(io_error("look at", &folder)(error)),
            }
        }
        Ok(())
    }
}

fn no_follow() -> i32 {
    // The flags of open(2) fit an i32 on every platform.
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::create(folder.path().join("gateway")).unwrap();
        (folder, directory)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folders_are_private_and_a_new_directory_is_not_set_up() {
        let (_folder, directory) = directory();
        for folder in directory.folders() {
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        }
        let error = Directory::open(directory.root()).unwrap_err();
        assert_eq!(error.code(), "directory.not_set_up");
        assert!(error.hint().unwrap().contains("muster-gateway init"));
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let (_folder, directory) = directory();
        fs::set_permissions(directory.root().join("ca"), fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(Directory::create(directory.root()).unwrap_err().code(), "directory.exposed");
    }

    #[test]
    fn a_directory_without_its_offline_keys_is_whole() {
        let (_folder, directory) = directory();
        for path in directory.expected().into_iter().skip(1) {
            write_new(&path, b"x", Access::Private).unwrap();
        }
        fs::remove_dir(directory.offline()).unwrap();
        assert_eq!(Directory::open(directory.root()).unwrap(), directory);
    }

    #[test]
    fn nothing_is_overwritten_by_write_new() {
        let (_folder, directory) = directory();
        let path = directory.server_key();
        write_new(&path, b"first", Access::Private).unwrap();
        assert_eq!(write_new(&path, b"second", Access::Private).unwrap_err().code(), "directory.exists");
        assert_eq!(read_private(&path).unwrap().as_str(), "first");
        assert_eq!(mode(&path), 0o600);
        replace(&path, b"third", Access::Private).unwrap();
        assert_eq!(read_private(&path).unwrap().as_str(), "third");
    }

    #[test]
    fn an_exposed_key_and_a_link_are_not_read() {
        let (_folder, directory) = directory();
        let path = directory.server_key();
        write_new(&path, b"key", Access::Private).unwrap();
        for exposed in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
            assert_eq!(read_private(&path).unwrap_err().code(), "directory.exposed", "{exposed:o}");
        }
        let link = directory.root().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_private(&link).unwrap_err().code(), "directory.wrong_kind");
        assert_eq!(read_public(directory.root()).unwrap_err().code(), "directory.wrong_kind");
    }

    #[test]
    fn one_process_at_a_time() {
        let (_folder, directory) = directory();
        let lock = directory.lock().unwrap();
        assert_eq!(directory.lock().unwrap_err().code(), "directory.locked");
        drop(lock);
        directory.lock().unwrap();
    }
}
