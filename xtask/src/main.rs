//! Tasks of the project: `cargo xtask demo|test|check|tidy|nostd|firmware|flash|tools|sim|bench`.
//!
//! Nothing here imports the packages it builds and checks; it starts cargo and other programs, and reads files.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod bench;
mod check;
mod demo;
mod dependencies;
mod firmware;
mod nostd;
mod sim;
mod steps;
mod test;
mod tidy;
mod tools;
mod workspace;

/// Tasks of the project
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build, then show a device's whole life on real parts
    Demo(demo::Arguments),
    /// Run everything: the checks of `check`, then every test; installs the tools it needs when root
    #[command(visible_alias = "ci")]
    Test,
    /// Format, arrows, dependencies, bare-target build, lints, documentation; no tests
    Check(check::Arguments),
    /// Check the house rules on files: arrows, sizes, headers, documentation links
    Tidy,
    /// Build the core for a bare microcontroller target
    Nostd(nostd::Arguments),
    /// Build, test and measure the firmware agent on boards
    #[command(subcommand)]
    Firmware(firmware::Task),
    /// Write a board's image to the board
    Flash(firmware::flash::Arguments),
    /// Make sure of the programs that tests start: install them when root, name the command otherwise
    Tools,
    /// Replay simulated histories by their seeds
    Sim(sim::Arguments),
    /// Measure, and write the figures as JSON
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test => test::run(),
        Task::Check(arguments) => check::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Nostd(arguments) => nostd::run(&arguments),
        Task::Firmware(task) => firmware::run(&task),
        Task::Flash(arguments) => firmware::flash::run(&arguments),
        Task::Tools => tools::run(),
        Task::Sim(arguments) => sim::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The names `cargo xtask` understands, aliases included.
fn task_names() -> Vec<String> {
    let command = Arguments::command();
    let names = command.get_subcommands().flat_map(|task| {
        std::iter::once(task.get_name()).chain(task.get_all_aliases()).map(str::to_owned).collect::<Vec<_>>()
    });
    names.chain(std::iter::once("help".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tasks_documents_name_exist() {
        let names = super::task_names();
        for name in ["demo", "test", "ci", "check", "tidy", "nostd", "firmware", "flash", "tools", "sim", "bench"] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
    }
}
