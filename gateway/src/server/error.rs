//! Why a gateway does not start, with what a command line says about it.

use std::io;

use muster_protocol::Code;

use crate::config::ConfigError;
use crate::directory::DirectoryError;
use crate::issuer::AuthorityError;
use crate::server_certificate::ServerCertificateError;
use crate::store::{OpenError, StoreError};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory is not usable.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The settings are not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The CAs or the fleet file are not usable.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A CA certificate is none.
    #[error("a CA certificate of the directory cannot be used: {0}")]
    Anchor(Code),
    /// There is no server certificate that devices would accept.
    #[error(transparent)]
    ServerCertificate(#[from] ServerCertificateError),
    /// The database cannot be opened.
    #[error("the database cannot be opened")]
    Database(#[from] OpenError),
    /// The database does not answer.
    #[error("the database does not answer")]
    Store(#[from] StoreError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {what}")]
    Listen {
        /// Which.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl From<StartError> for muster_terminal::Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Directory(error) => error.into(),
            StartError::Config(error) => error.into(),
            StartError::Authority(error) => error.into(),
            StartError::ServerCertificate(error) => error.into(),
            StartError::Listen { .. } => Self::from_error("listen.failed", "", &error)
                .hint("another program may listen there; see --mqtt-listen and --https-listen"),
            StartError::Database(_) => Self::from_error("store.open", "", &error),
            _ => Self::from_error("gateway.start", "", &error),
        }
    }
}
