//! Passwords: from a file that only its owner can read, or typed without echo. Never from an argument, which every
//! process on the machine can see, nor from the environment, which children inherit.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail as _};
use crate::output::Output;

/// A password in memory: erased on drop, and mute (no Debug, no Display, no serde).
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// A password that is already in memory.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Password {
        Password(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `--password-file FILE`, to be flattened into a command that needs a password.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PasswordFile {
    /// Read the password from FILE, which only its owner may read; asked for when absent
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordFile {
    /// An existing password: from the file, or asked once. `purpose` completes "Password for …".
    pub fn existing(&self, output: &Output, purpose: &str) -> Result<Password, Failure> {
        match &self.password_file {
            Some(path) => from_file(path),
            None => typed(output, &format!("Password for {purpose}: ")),
        }
    }

    /// A new password: from the file, or asked twice.
    pub fn new_password(&self, output: &Output, purpose: &str) -> Result<Password, Failure> {
        let Some(path) = &self.password_file else {
            let first = typed(output, &format!("New password for {purpose}: "))?;
            let second = typed(output, "The same again: ")?;
            return match first.as_bytes() == second.as_bytes() {
                true => Ok(first),
                false => Err(Failure::failed("password.mismatch", "the two passwords differ; nothing was done")),
            };
        };
        from_file(path)
    }
}

/// The first line of the file, which must belong to its owner alone.
fn from_file(path: &Path) -> Result<Password, Failure> {
    let shown = path.display();
    let mut file = File::open(path).or_fail("password.unreadable", &format!("cannot read {shown}"))?;
    let metadata = file.metadata().or_fail("password.unreadable", &format!("cannot read {shown}"))?;
    if metadata.mode() & 0o077 != 0 {
        let message = format!("{shown} can be read by others (mode {:04o})", metadata.mode() & 0o7777);
        return Err(Failure::refused("password.exposed", message).hint(format!("chmod 600 {shown}")));
    }
    // One byte more than allowed, in one allocation, so that nothing is left behind by a growing buffer.
    let mut bytes = Zeroizing::new(vec![0; LENGTH_MAX + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]).or_fail("password.unreadable", &format!("cannot read {shown}"))? {
            0 => break,
            count => filled += count,
        }
    }
    let end = bytes[..filled].iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(filled);
    bytes.truncate(end);
    checked(bytes, &format!("the password in {shown}"))
}

/// Typed at the controlling terminal without echo.
fn typed(output: &Output, prompt: &str) -> Result<Password, Failure> {
    let needed = || {
        Failure::usage("password.needed", "a password is needed and there is no terminal to ask at")
            .hint("add --password-file FILE")
    };
    if !output.is_interactive() {
        return Err(needed());
    }
    let file = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| needed())?;
    let _silence = Silence::on(&file).or_fail("password.terminal", "cannot turn off echo")?;
    let mut terminal = &file;
    let _ = terminal.write_all(prompt.as_bytes());
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH_MAX + 1));
    let mut key = [0_u8; 1];
    while bytes.len() <= LENGTH_MAX {
        match terminal.read(&mut key).or_fail("password.terminal", "cannot read the terminal")? {
            0 => break,
            _ if matches!(key[0], b'\r' | b'\n' | 0x04) => break,
            // Ctrl-C: as a signal it would end the program and leave the terminal without echo.
            _ if key[0] == 0x03 => {
                let _ = terminal.write_all(b"\n");
                return Err(Failure::failed("password.cancelled", "cancelled; nothing was done"));
            }
            // Backspace: one character, which may be several bytes of UTF-8.
            _ if matches!(key[0], 0x08 | 0x7f) => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ => bytes.push(key[0]),
        }
    }
    let _ = terminal.write_all(b"\n");
    checked(bytes, "the password")
}

fn checked(bytes: Zeroizing<Vec<u8>>, what: &str) -> Result<Password, Failure> {
    match bytes.len() {
        0 => Err(Failure::refused("password.empty", format!("{what} is empty"))),
        1..=LENGTH_MAX => Ok(Password(bytes)),
        _ => Err(Failure::refused("password.long", format!("{what} is longer than {LENGTH_MAX} bytes"))),
    }
}

/// A terminal without echo, line editing or signals, until dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn on(terminal: &'a File) -> std::io::Result<Silence<'a>> {
        let before = termios::tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

const LENGTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::exit::Exit;
    use crate::output::Format;
    use crate::output::tests::captured;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PasswordFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, PasswordFile { password_file: Some(path) })
    }

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, Failure> {
        let (output, ..) = captured(Format::Text);
        let (_folder, file) = file(content, mode);
        file.existing(&output, "the root key").map(|password| password.as_bytes().to_vec())
    }

    #[test]
    fn takes_the_first_line_of_a_private_file() {
        assert_eq!(read(b"correct horse\n", 0o600).unwrap(), b"correct horse");
        assert_eq!(read(b"correct horse\r\nsecond\n", 0o400).unwrap(), b"correct horse");
        assert_eq!(read(b" spaces stay ", 0o600).unwrap(), b" spaces stay ");
    }

    #[test]
    fn refuses_a_file_others_can_read() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let refused = read(b"correct horse\n", mode).unwrap_err();
            assert_eq!((refused.exit, refused.code.as_str()), (Exit::Refused, "password.exposed"), "{mode:o}");
            assert!(refused.hint.unwrap().starts_with("chmod 600 "));
            assert!(!refused.message.contains("horse"));
        }
    }

    #[test]
    fn refuses_nothing_and_too_much() {
        assert_eq!(read(b"\n", 0o600).unwrap_err().code, "password.empty");
        assert_eq!(read(&[b'x'; LENGTH_MAX + 9], 0o600).unwrap_err().code, "password.long");
        assert_eq!(read(&[b'x'; LENGTH_MAX], 0o600).unwrap().len(), LENGTH_MAX);
    }

    #[test]
    fn names_the_flag_when_nobody_can_be_asked() {
        let (output, ..) = captured(Format::Text);
        let refused = PasswordFile::default().new_password(&output, "the root key").err().unwrap();
        assert_eq!((refused.exit, refused.hint.unwrap().as_str()), (Exit::Usage, "add --password-file FILE"));
    }
}
