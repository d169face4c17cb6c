//! Files that are there whole or not at all after a power cut, and secrets that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No secret that is read here is longer.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Creates a file that everybody may read; fails if it is there.
pub fn create_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, bytes, 0o644)
}

/// Creates a file that its owner alone may read; fails if it is there.
pub fn create_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, bytes, 0o600)
}

/// Puts a file that everybody may read in the place of what is there, if anything.
pub fn replace_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o644)
}

/// Puts a file that its owner alone may read in the place of what is there, if anything.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

/// Creates a secret without forcing it to disk: the caller does that for many files at once.
pub fn write_secret_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Reads a secret; refuses a file that somebody else owns or may read.
pub fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if metadata.permissions().mode() & 0o077 != 0 {
        let mode = metadata.permissions().mode() & 0o7777;
        return refused(format!("others may read it (mode {mode:04o}); chmod 600 it"));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && own != 0 {
        return refused("it belongs to another user".to_owned());
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return refused("it is too long for a key".to_owned());
    }
    // Room for the whole file at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Forces a folder's entries to disk.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Forces everything on the file system of `path` to disk: cheaper than many files one by one.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(path)?).map_err(Into::into)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already and is not overwritten"));
    }
    let partial = write_partial(path, bytes, mode)?;
    // A link fails where a file came up in the meantime; a rename would overwrite it.
    let linked = fs::hard_link(&partial, path);
    let removed = fs::remove_file(&partial);
    linked.and(removed)?;
    sync_dir(parent_of(path))
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let partial = write_partial(path, bytes, mode)?;
    if let Err(error) = fs::rename(&partial, path) {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    sync_dir(parent_of(path))
}

/// Writes the bytes beside their place and forces them to disk.
fn write_partial(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let partial = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    Ok(partial)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_overwritten_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_public(&path, b"one").unwrap();
        assert_eq!(create_public(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace_public(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no partial file stays");
    }

    #[test]
    fn secrets_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secret(&path).unwrap().as_str(), "secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, vec![b'x'; 70_000]).unwrap();
        assert!(read_secret(&path).is_err());
    }
}
