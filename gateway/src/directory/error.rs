//! What is wrong with the directory or a file in it, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with the directory or a file in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// There is no such directory, or it was never set up.
    #[error("{} is no gateway directory: {missing} is missing", root.display())]
    NotSetUp {
        /// The directory.
        root: PathBuf,
        /// The first file that is missing.
        missing: String,
    },
    /// Others than the owner have access.
    #[error("{} is open to others (mode {mode:04o})", path.display())]
    Exposed {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It is not a plain file or directory, or larger than such a file can be.
    #[error("{} is not a file of the kind that belongs there", path.display())]
    WrongKind {
        /// What.
        path: PathBuf,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process", root.display())]
    Locked {
        /// The directory.
        root: PathBuf,
    },
    /// The file exists and is not overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DirectoryError {
    /// The stable dotted name, for command lines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotSetUp { .. } => "directory.not_set_up",
            Self::Exposed { .. } => "directory.exposed",
            Self::ForeignOwner { .. } => "directory.foreign_owner",
            Self::WrongKind { .. } => "directory.wrong_kind",
            Self::Locked { .. } => "directory.locked",
            Self::Exists { .. } => "directory.exists",
            Self::Io { .. } => "directory.io",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotSetUp { root, .. } => {
                Some(format!("set it up with: muster-gateway init --dir {} --name HOST", root.display()))
            }
            Self::Exposed { path, .. } => Some(format!("chmod go-rwx {}", path.display())),
            Self::ForeignOwner { path, .. } => Some(format!("run as its owner, or chown {}", path.display())),
            Self::Locked { .. } => Some("stop the running gateway, or use the admin socket".to_owned()),
            Self::WrongKind { .. } | Self::Exists { .. } | Self::Io { .. } => None,
        }
    }
}

impl From<DirectoryError> for muster_terminal::Failure {
    fn from(error: DirectoryError) -> Self {
        let failure = Self::from_error(error.code(), "", &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// For `map_err`.
pub(super) fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DirectoryError + 'a {
    move |source| DirectoryError::Io { what, path: path.to_owned(), source }
}
