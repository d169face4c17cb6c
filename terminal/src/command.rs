//! A program's `main`: parse, act, report, exit.
//!
//! Adds what every program has: `--json`, `--quiet`, `completion SHELL`, `man [--dir DIR]`, and the exit codes at the end
//! of the long help and of each man page.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::exit::Exit;
use crate::failure::{Failure, OrFail as _};
use crate::output::{Format, Output};

/// Runs a program over the process's arguments and streams.
///
/// `act` gets the parsed command line; what it returns, `()` or an [`Exit`], is the exit code. A [`Failure`] is printed on
/// stderr. The flags `--json` and `--quiet` are added here and already in force in the [`Output`].
pub fn run<C, E>(act: impl FnOnce(C, &Output) -> Result<E, Failure>) -> ExitCode
where
    C: Parser,
    E: Into<Exit>,
{
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let asked_for_json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let output = Output::standard(if asked_for_json { Format::Json } else { Format::Text });
    run_with(arguments, output, act).into()
}

/// As [`run`], with the arguments (program name first) and the output given.
pub fn run_with<C, E>(
    arguments: Vec<OsString>,
    output: Output,
    act: impl FnOnce(C, &Output) -> Result<E, Failure>,
) -> Exit
where
    C: Parser,
    E: Into<Exit>,
{
    let command = with_shared_parts(C::command());
    let matches = match command.clone().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return say_usage(&output, &error),
    };
    let output = if matches.get_flag("quiet") { output.quiet() } else { output };
    let outcome = match matches.subcommand() {
        Some(("completion", asked)) => completion(command, asked, &output).map(Exit::from),
        Some(("man", asked)) => man(command, asked, &output).map(Exit::from),
        _ => match C::from_arg_matches(&matches) {
            Ok(parsed) => act(parsed, &output).map(Into::into),
            Err(error) => return say_usage(&output, &error.with_cmd(&command)),
        },
    };
    match outcome {
        Ok(exit) => exit,
        // A reader that closed the pipe: over, and nothing to say.
        Err(failure) if failure.exit == Exit::Done => Exit::Done,
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    }
}

/// The program's command line with the shared flags and subcommands.
fn with_shared_parts(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).global(true).help(help).display_order(900)
    };
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    let folder = Arg::new("dir").long("dir").value_name("DIR").value_parser(value_parser!(PathBuf));
    command
        .arg(flag("json", "Answer as JSON, errors included"))
        .arg(flag("quiet", "No notes and no progress"))
        .after_long_help(format!("Exit codes:\n{}", Exit::table()))
        .subcommand(
            Command::new("completion")
                .about("Print the completion script for a shell")
                .arg(shell.help("For which shell"))
                .display_order(900),
        )
        .subcommand(
            Command::new("man")
                .about("Print the manual page, or write one page for each command")
                .arg(folder.help("Write all pages into DIR instead"))
                .display_order(901),
        )
}

/// Help and version are answers; everything else is wrong usage, exit 2.
fn say_usage(output: &Output, error: &clap::Error) -> Exit {
    let answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match (answer, output.format()) {
        (true, _) => output.data(error.render().to_string().trim_end()).map_or_else(|failure| failure.exit, Exit::from),
        (false, Format::Text) => {
            let _ = error.print();
            Exit::Usage
        }
        (false, Format::Json) => {
            let text = error.render().to_string();
            let message = text.lines().next().unwrap_or_default();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            output.failure(&Failure::usage("usage.wrong", message).hint("see --help"));
            Exit::Usage
        }
    }
}

fn completion(mut command: Command, asked: &ArgMatches, output: &Output) -> Result<(), Failure> {
    let Some(shell) = asked.get_one::<Shell>("shell") else { return Ok(()) };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut command, name, &mut script);
    output.data(String::from_utf8_lossy(&script).trim_end())
}

fn man(command: Command, asked: &ArgMatches, output: &Output) -> Result<(), Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = asked.get_one::<PathBuf>("dir") else {
        let page = page(command).or_fail("man.failed", "cannot make the manual page")?;
        return output.data(String::from_utf8_lossy(&page).trim_end());
    };
    write_pages(&command, folder).or_fail("man.failed", &format!("cannot write pages to {}", folder.display()))
}

/// One page for the command and one for each command below it: `muster-gateway-device-list.1`.
fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let name = Man::new(command.clone()).get_filename();
    std::fs::write(folder.join(name), page(command.clone())?)
}

/// The page, with the exit codes as their own section in the customary place.
fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let version = command.get_version().is_some();
    let below = command.has_subcommands();
    let man = Man::new(command.after_help("").after_long_help("")).manual("Muster");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if below {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for exit in Exit::ALL {
        page.extend_from_slice(format!(".TP\n\\fB{}\\fR\n{}\n", exit.number(), exit.meaning()).as_bytes());
    }
    if version {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Subcommand;

    use super::*;
    use crate::output::tests::captured;

    #[derive(Debug, Parser)]
    #[command(name = "muster-test", version = "9.9")]
    struct Program {
        #[command(subcommand)]
        act: Act,
    }

    #[derive(Debug, Subcommand)]
    enum Act {
        /// Lists
        List {
            #[arg(long)]
            state: Option<String>,
        },
        /// Refuses
        Refuse,
        /// Two levels
        #[command(subcommand)]
        Device(Device),
    }

    #[derive(Debug, Subcommand)]
    enum Device {
        /// Shows one
        Show { id: String },
    }

    fn answer(line: &str) -> (Exit, String, String) {
        let (output, out, err) = captured(if line.contains("--json") { Format::Json } else { Format::Text });
        let arguments = std::iter::once("muster-test").chain(line.split_whitespace()).map(OsString::from).collect();
        let exit = run_with(arguments, output, |program: Program, output| match program.act {
            Act::List { state } => output.data(state.as_deref().unwrap_or("all")).map(|()| Exit::Done),
            Act::Device(Device::Show { id }) => Err(Failure::not_found("device.unknown", format!("no device {id}"))),
            Act::Refuse => Err(Failure::refused("device.retired", "it is retired")),
        });
        (exit, out.text(), err.text())
    }

    #[test]
    fn the_outcome_is_the_exit_code() {
        assert_eq!(answer("list --state active"), (Exit::Done, "active\n".into(), String::new()));
        assert_eq!(answer("refuse"), (Exit::Refused, String::new(), "error: it is retired\n".into()));
        assert_eq!(answer("device show x").0, Exit::NotFound);
    }

    #[test]
    fn wrong_usage_is_two_and_an_object_with_json() {
        for line in ["list --junk", "lst", "", "device", "device show", "completion", "completion tcsh", "man --junk"] {
            assert_eq!(answer(line).0, Exit::Usage, "{line:?}");
            let (exit, out, err) = answer(&format!("--json {line}"));
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{line:?}");
            let object: serde_json::Value = serde_json::from_str(err.trim()).unwrap();
            assert_eq!(object["code"], "usage.wrong", "{line:?}");
        }
    }

    #[test]
    fn json_is_understood_after_the_command_too() {
        let (exit, _, err) = answer("device show x --json");
        assert_eq!(exit, Exit::NotFound);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&err).unwrap()["message"], "no device x");
    }

    #[test]
    fn help_tells_the_exit_codes() {
        let (exit, out, _) = answer("--help");
        assert_eq!(exit, Exit::Done);
        for expected in ["Exit codes:", "  4  not found", "--json", "completion", "man"] {
            assert!(out.contains(expected), "{expected} in {out}");
        }
        assert_eq!(answer("--version").1, "muster-test 9.9\n");
    }

    #[test]
    fn completes_in_every_shell() {
        for shell in ["bash", "zsh", "fish"] {
            let (exit, out, _) = answer(&format!("completion {shell}"));
            assert_eq!(exit, Exit::Done);
            assert!(out.contains("muster-test") && out.contains("refuse"), "{shell}");
        }
    }

    #[test]
    fn writes_a_page_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        let (exit, out, _) = answer(&format!("man --dir {}", folder.path().display()));
        assert_eq!((exit, out.as_str()), (Exit::Done, ""));
        for name in ["muster-test.1", "muster-test-list.1", "muster-test-device-show.1"] {
            let page = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(page.contains("EXIT STATUS") && page.contains("refused by a rule"), "{name}");
        }
        assert!(answer("man").1.contains("muster\\-test"));
    }
}
