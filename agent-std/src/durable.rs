//! Replacing a file so that a power cut leaves the old content or the new one, never a third thing.
//!
//! Write a temporary file beside the target and fsync it, rename it over the target, fsync the folder. Whoever keeps
//! files here goes through [`FileSystem`], so that a test can cut the power at every byte and every operation. A
//! temporary file that a cut left behind is removed by [`clean`]. What the bytes mean is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The few operations on files that durability needs.
pub trait FileSystem: Clone + Send + Sync + 'static {
    /// Creates a folder (mode 0700) and those above it; an existing one is fine.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The content of a file; `None` when there is none. More than `bytes_max` bytes are an error.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>>;
    /// Creates or empties the file, writes `bytes` and fsyncs it.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// Renames within one folder, replacing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the folder's entries durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// The files of a folder.
    fn files(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// Puts `bytes` in place of the file's content, or creates the file.
pub fn replace(system: &impl FileSystem, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    system.write(&temporary, bytes, mode)?;
    system.rename(&temporary, path)?;
    system.sync_folder(folder)
}

/// Removes the temporary files that a cut left in a folder.
pub fn clean(system: &impl FileSystem, folder: &Path) -> io::Result<()> {
    let stale = |path: &&PathBuf| path.to_string_lossy().ends_with(TEMPORARY);
    let files = system.files(folder)?;
    for path in files.iter().filter(stale) {
        system.remove(path)?;
    }
    if files.iter().any(|path| stale(&path)) { system.sync_folder(folder) } else { Ok(()) }
}

/// Against what a write is safe when it returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// Against a power cut: everything is fsynced.
    PowerCut,
    /// Against the end of the process only. For throw-away state, where thousands of fsyncs would be the whole cost.
    ProcessEnd,
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    durability: Durability,
}

impl Disk {
    /// With this much care.
    #[must_use]
    pub const fn new(durability: Durability) -> Self {
        Self { durability }
    }

    fn sync(self, file: &File) -> io::Result<()> {
        match self.durability {
            Durability::PowerCut => file.sync_all(),
            Durability::ProcessEnd => Ok(()),
        }
    }
}

impl FileSystem for Disk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        match folder.parent() {
            Some(above) if above != Path::new("") => self.sync_folder(above),
            _ => Ok(()),
        }
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is longer than its format allows"));
        }
        Ok(Some(bytes))
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        // Not followed where somebody left a link, and never with the mode of an older file.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        self.sync(&file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.sync(&File::open(folder)?)
    }

    fn files(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }
}

/// Ends the name of a file that is being written.
const TEMPORARY: &str = ".new";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replaces_with_the_mode_asked_for_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::new(Durability::PowerCut), folder.path().join("a"));
        for content in [&b"one"[..], b"two, longer", b""] {
            replace(&disk, &path, content, 0o600).unwrap();
            assert_eq!(disk.read(&path, 64).unwrap().as_deref(), Some(content));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(disk.files(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn cleaning_takes_temporary_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(Durability::ProcessEnd);
        for name in ["a", "a.new", "b.new", "newer"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        clean(&disk, folder.path()).unwrap();
        let mut left = disk.files(folder.path()).unwrap();
        left.sort();
        assert_eq!(left, [folder.path().join("a"), folder.path().join("newer")]);
    }

    #[test]
    fn a_file_that_is_too_long_or_not_there_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::new(Durability::PowerCut), folder.path().join("a"));
        assert!(disk.read(&path, 4).unwrap().is_none());
        fs::write(&path, "12345").unwrap();
        assert!(disk.read(&path, 4).is_err());
    }
}
