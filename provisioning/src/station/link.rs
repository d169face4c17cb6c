//! The line to the board: a serial device, or TCP (an emulator's serial line, a serial server).
//!
//! Bytes may be lost, changed or mixed with text on either; a line that goes away can be opened again. A serial device is
//! raw, without flow control, and locked against other programs that lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags};
use rustix::termios::{self, ControlModes, OptionalActions, QueueSelector};

/// Where a line is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// `tcp:HOST:PORT`.
    Tcp(String),
    /// A serial device.
    Device(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("tcp:") {
            Some(address) => match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => Err("a TCP line is tcp:HOST:PORT, as in tcp:127.0.0.1:4444".to_owned()),
            },
            None if text.starts_with('/') => Ok(Self::Device(text.into())),
            None => Err("a line is tcp:HOST:PORT or a serial device, as in /dev/ttyACM0".to_owned()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Device(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An open line. Never blocks for longer than it is told to.
#[derive(Debug)]
pub enum Link {
    /// A connection.
    Tcp(TcpStream),
    /// A serial device.
    Device(File),
}

impl Link {
    /// Opens the line; a serial device at this speed.
    pub fn open(place: &Place, baud: u32) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => connect(address).map(Self::Tcp),
            Place::Device(path) => {
                let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
                // Flag bits fit the type of the standard library's call on every system there is.
                let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
                let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                make_raw(&file, baud)?;
                Ok(Self::Device(file))
            }
        }
    }

    /// Reads what is there, waiting for at most `patience`; 0 bytes when nothing came. A line that is gone is an error.
    pub fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        if !self.is_ready(PollFlags::IN, patience)? {
            return Ok(0);
        }
        let read = match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Device(file) => file.read(buffer),
        };
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            read => read,
        }
    }

    /// Writes everything.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let give_up_at = Instant::now() + WRITE_PATIENCE;
        while !bytes.is_empty() {
            let written = match self {
                Self::Tcp(stream) => stream.write(bytes),
                Self::Device(file) => file.write(bytes),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let patience = give_up_at.saturating_duration_since(Instant::now());
                    if !self.is_ready(PollFlags::OUT, patience)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Device(file) => file.as_fd(),
        }
    }

    fn is_ready(&self, what: PollFlags, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(self.fd(), what)], Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Eight bits, no parity, one stop bit, no flow control, nothing changed on the way; hanging up resets no board.
fn make_raw(file: &File, baud: u32) -> io::Result<()> {
    let mut modes = termios::tcgetattr(file)?;
    modes.make_raw();
    modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    modes.control_modes &= !(ControlModes::HUPCL | ControlModes::CRTSCTS | ControlModes::CSTOPB | ControlModes::PARENB);
    modes.set_speed(baud)?;
    termios::tcsetattr(file, OptionalActions::Now, &modes)?;
    termios::tcflush(file, QueueSelector::IOFlush)?;
    Ok(())
}

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_addresses_or_devices() {
        for (text, expected) in [
            ("tcp:127.0.0.1:4444", Some(Place::Tcp("127.0.0.1:4444".into()))),
            ("tcp:[::1]:4444", Some(Place::Tcp("[::1]:4444".into()))),
            ("/dev/ttyACM0", Some(Place::Device("/dev/ttyACM0".into()))),
            ("tcp:4444", None),
            ("tcp::4444", None),
            ("tcp:host:0", None),
            ("ttyACM0", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Place>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_quiet_line_is_no_error_and_a_gone_one_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap().to_string());
        let mut link = Link::open(&place, 115_200).unwrap();
        let (mut board, _) = listener.accept().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(link.read(&mut buffer, Duration::from_millis(1)).unwrap(), 0);
        link.write(b"ask").unwrap();
        board.read_exact(&mut buffer[..3]).unwrap();
        board.write_all(b"answer").unwrap();
        assert_eq!(link.read(&mut buffer, Duration::from_secs(60)).unwrap(), 6);
        drop(board);
        assert!(link.read(&mut buffer, Duration::from_secs(60)).is_err());
    }
}
