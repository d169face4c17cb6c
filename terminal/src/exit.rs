//! The exit codes of every Muster program. Help text and man pages print this table; nothing else numbers an exit.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done as asked.
    Done,
    /// Tried and failed: a file, the network, a peer that is not there.
    Failed,
    /// The command line is wrong; nothing was tried.
    Usage,
    /// Understood and refused by a rule; trying again changes nothing.
    Refused,
    /// The thing named does not exist.
    NotFound,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Exit; 5] = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::NotFound];

    /// The number the shell sees.
    pub const fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::NotFound => 4,
        }
    }

    /// What the number means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed: tried, and something did not work; the message says what to do",
            Exit::Usage => "wrong usage: nothing was tried",
            Exit::Refused => "refused by a rule: trying again changes nothing",
            Exit::NotFound => "not found: the device, file or entry named does not exist",
        }
    }

    /// The whole table as text, one `  NUMBER  meaning` line each.
    pub fn table() -> String {
        Exit::ALL.iter().fold(String::new(), |mut text, exit| {
            let _ = writeln!(text, "  {}  {}", exit.number(), exit.meaning());
            text
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

/// A command that returns nothing is done.
impl From<()> for Exit {
    fn from((): ()) -> Exit {
        Exit::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_documented() {
        assert_eq!(Exit::ALL.map(Exit::number), [0, 1, 2, 3, 4]);
        assert_eq!(Exit::table().lines().count(), 5);
        assert!(Exit::table().contains("  3  refused"));
    }
}
