//! What went wrong inside the database, sorted: the transaction's fault, the disk's, or the row's.

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::error::{Outage, Refusal, StoreError};

/// Why one transaction, or one group of them, was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer for the caller; the database is well.
    Answer(StoreError),
    /// The database said no.
    Sqlite(Error),
}

impl Failure {
    /// `refusal`, when a row points at another one that is not there.
    pub(super) fn or_foreign_key(self, refusal: Refusal) -> Self {
        match &self {
            Self::Sqlite(Error::SqliteFailure(error, _))
                if error.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY =>
            {
                Self::Answer(refusal.into())
            }
            _ => self,
        }
    }

    /// What the caller is told when nothing was committed.
    pub(super) fn into_answer(self) -> StoreError {
        match self {
            Self::Answer(error) => error,
            Self::Sqlite(error) => StoreError::Unavailable(outage(&error)),
        }
    }

    /// Whether the disk or the file failed, so that nothing that the process believes about them holds any more: after a
    /// failed fsync the kernel may have dropped the pages and report success the next time.
    pub(super) fn is_fatal(&self) -> bool {
        match self {
            Self::Answer(_) => false,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                )
            ),
        }
    }
}

/// The outage that an error of the database means.
pub(super) fn outage(error: &Error) -> Outage {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..) => Outage::Row(error.to_string()),
        _ if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Outage::DiskFull,
        _ => Outage::Storage(error.to_string()),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Answer(refusal.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Answer(StoreError::Unavailable(Outage::Row(error.to_string())))
    }
}
