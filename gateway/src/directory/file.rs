//! Files of the directory: read and written whole, with their permissions checked.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use muster_issuing::file;
use zeroize::Zeroizing;

use super::error::{DirectoryError, io_error};

/// Who may read a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Its owner only: 0600.
    Private,
    /// Everybody who reaches it: 0644.
    Public,
}

/// Reads a file that only its owner may read. The text is erased when dropped.
///
/// # Errors
/// When it is missing, open to others, somebody else's, or longer than any such file.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, DirectoryError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(DirectoryError::WrongKind { path: path.to_owned() });
    }
    check_private(path, &metadata)?;
    file::read_secret(path).map_err(io_error("read", path))
}

/// Reads a file that anybody may read.
///
/// # Errors
/// When it is missing or longer than any such file.
pub fn read_public(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    let metadata = fs::metadata(path).map_err(io_error("read", path))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(DirectoryError::WrongKind { path: path.to_owned() });
    }
    fs::read(path).map_err(io_error("read", path))
}

/// Writes a file that must not exist. After a power cut it is there whole, or not at all.
///
/// # Errors
/// [`DirectoryError::Exists`] when it is there.
pub fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), DirectoryError> {
    let written = match access {
        Access::Private => file::create_secret(path, bytes),
        Access::Public => file::create_public(path, bytes),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DirectoryError::Exists { path: path.to_owned() })
        }
        result => result.map_err(io_error("write", path)),
    }
}

/// Writes a file in the place of another. After a power cut the old one is there, or the new one.
///
/// # Errors
/// When the disk refuses.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), DirectoryError> {
    let written = match access {
        Access::Private => file::replace_secret(path, bytes),
        Access::Public => file::replace_public(path, bytes),
    };
    written.map_err(io_error("replace", path))
}

/// Whether something is the process's own and closed to others.
pub(super) fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), DirectoryError> {
    let owner = metadata.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(DirectoryError::ForeignOwner { path: path.to_owned(), owner });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DirectoryError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// No file of the gateway other than its database is near this.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
