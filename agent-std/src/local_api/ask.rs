//! The other end of the socket: how the command line asks a running agent.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Take};
use tokio::net::UnixStream;

use super::wire::{LINE_BYTES_MAX, LineAnswer};

/// Why a running agent did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens: no agent runs, or it has no socket.
    #[error("no agent listens on {}", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("cannot talk to the agent on {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent refused.
    #[error("{message}")]
    Refused {
        /// The stable code.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// Asks one question and gives its answer.
pub async fn ask(path: &Path, question: &Value) -> Result<LineAnswer, AskError> {
    Connection::open(path).await?.ask(question).await
}

/// A connection to a running agent.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    stream: Take<BufReader<UnixStream>>,
}

impl Connection {
    /// Connects.
    pub async fn open(path: &Path) -> Result<Self, AskError> {
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream: BufReader::new(stream).take(0) }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Err(AskError::Nobody { path: path.to_owned() })
            }
            Err(source) => Err(AskError::Io { path: path.to_owned(), source }),
        }
    }

    /// Asks a question and waits for the next line.
    pub async fn ask(&mut self, question: &Value) -> Result<LineAnswer, AskError> {
        let line = format!("{question}\n");
        let written = self.stream.get_mut().get_mut().write_all(line.as_bytes()).await;
        written.map_err(|source| AskError::Io { path: self.path.clone(), source })?;
        self.next().await
    }

    /// The next line: a further answer of `watch`, or a publication.
    pub async fn next(&mut self) -> Result<LineAnswer, AskError> {
        let failed = |source| AskError::Io { path: self.path.clone(), source };
        let mut line = Vec::new();
        // Publications are at most doubled by hex and escapes.
        self.stream.set_limit(4 * LINE_BYTES_MAX as u64);
        self.stream.read_until(b'\n', &mut line).await.map_err(failed)?;
        if line.is_empty() {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: LineAnswer = serde_json::from_slice(&line).map_err(|error| failed(io::Error::other(error)))?;
        match answer {
            LineAnswer { ok: Some(false), code, message, .. } => Err(AskError::Refused {
                code: code.unwrap_or_default(),
                message: message.and_then(|message| message.as_str().map(str::to_owned)).unwrap_or_default(),
            }),
            answer => Ok(answer),
        }
    }
}
