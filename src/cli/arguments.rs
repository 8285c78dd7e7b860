//! What the process is asked to do.

use std::{ffi::OsString, str::FromStr};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::{domain::RunIdError, version::VERSION_AND_COMMIT};

/// Length of a whole id.
const ID_LEN: usize = 36;
/// Shown with every usage error, so that `--healthcheck` is never far.
const USAGE: &str = "\
mana-persona-runner                      run the daemon; docs/configuration.md lists the environment variables
       mana-persona-runner --healthcheck        ask the daemon on this machine for /health
       mana-persona-runner --version
       mana-persona-runner <COMMAND>            read the journal in RUNNER_DATA_DIR";

/// The daemon that brings Mana's test personas to life.
#[derive(Debug, Parser)]
#[command(
    name = "mana-persona-runner",
    override_usage = USAGE,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    /// Ask the daemon on this machine for /health
    #[arg(long, conflicts_with = "version")]
    healthcheck: bool,
    // clap's own would not mind what comes behind it.
    /// Print the version
    #[arg(long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Question>,
}

/// What is to be told of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Question {
    /// List the latest runs, newest first
    #[command(args_conflicts_with_subcommands = true)]
    Runs {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// What else.
        #[command(subcommand)]
        command: Option<RunsCommand>,
    },
    /// Print one run as a conversation
    Show(Show),
    /// List the rows that mana-auth has not confirmed yet
    Outbox {
        /// What is to be done with them.
        #[command(subcommand)]
        command: Option<OutboxCommand>,
    },
}

/// What else is told of runs.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum RunsCommand {
    /// Print one run as a conversation
    Show(Show),
}

/// Which run is printed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Show {
    /// The run's id, or a beginning of it that no other run has
    pub run: RunPrefix,
    /// Print long texts whole
    #[arg(long)]
    pub full: bool,
}

/// What is done with the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum OutboxCommand {
    /// Have everything in the outbox sent again at once, what was refused for good included
    Retry,
    /// Throw away what was refused for good of one run, where nothing can be repaired
    Discard {
        /// The run's id, or a beginning of it that no other run has
        run: RunPrefix,
    },
}

/// What the process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To be the daemon.
    Serve,
    /// To ask the daemon on this machine for /health.
    Healthcheck,
    /// To say this: its version, or help.
    Say(String),
    /// To tell something of a journal.
    Tell(Question),
}

/// The beginning of a run's id: lower-case hex digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPrefix(pub(super) String);

impl FromStr for RunPrefix {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let fits = (1..=ID_LEN).contains(&text.len());
        let fits = fits && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(RunIdError) }
    }
}

/// Reads the arguments of the process, its own name first.
///
/// # Errors
/// When they make no sense: what is wrong with them, and the usage.
pub fn parse<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> Result<Request, String> {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments { version: true, .. }) => {
            Ok(Request::Say(format!("mana-persona-runner {VERSION_AND_COMMIT}\n")))
        }
        Ok(Arguments { healthcheck: true, .. }) => Ok(Request::Healthcheck),
        Ok(Arguments { command: None, .. }) => Ok(Request::Serve),
        Ok(Arguments { command: Some(command), .. }) => Ok(Request::Tell(command)),
        Err(help) if help.kind() == ErrorKind::DisplayHelp => Ok(Request::Say(help.to_string())),
        Err(wrong) => {
            let text = wrong.to_string();
            Err(text.trim_end().trim_start_matches("error: ").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Result<Request, String> {
        parse([&["mana-persona-runner"], arguments].concat())
    }

    fn prefix(text: &str) -> RunPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn every_command_is_understood() {
        let run = || prefix("019a-b");
        let show = |full| Request::Tell(Question::Show(Show { run: run(), full }));
        let runs = |limit, command| Request::Tell(Question::Runs { limit, command });
        let runs_show = Some(RunsCommand::Show(Show { run: run(), full: true }));
        let outbox = |command| Request::Tell(Question::Outbox { command });
        for (arguments, expected) in [
            (&[][..], Request::Serve),
            (&["--healthcheck"], Request::Healthcheck),
            (&["--version"], Request::Say(format!("mana-persona-runner {VERSION_AND_COMMIT}\n"))),
            (&["runs"], runs(20, None)),
            (&["runs", "--limit", "7"], runs(7, None)),
            (&["show", "019A-b"], show(false)),
            (&["show", "--full", "019a-b"], show(true)),
            (&["runs", "show", "019a-b", "--full"], runs(20, runs_show)),
            (&["outbox"], outbox(None)),
            (&["outbox", "retry"], outbox(Some(OutboxCommand::Retry))),
            (&["outbox", "discard", "019a-b"], outbox(Some(OutboxCommand::Discard { run: run() }))),
        ] {
            assert_eq!(request(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_usage() {
        for arguments in [
            &["--healthcheck", "runs"][..],
            &["--healthcheck", "--version"],
            &["--version", "now"],
            &["runs", "--limit", "0"],
            &["runs", "--limit", "5", "show", "019a"],
            &["show"],
            &["show", "not-an-id"],
            &["show", "%"],
            &["show", ""],
            &["outbox", "drop"],
            &["outbox", "discard"],
        ] {
            let Err(text) = request(arguments) else {
                panic!("{arguments:?}: {:?}", request(arguments));
            };
            assert!(text.contains("--help") && !text.starts_with("error"), "{text}");
        }
    }

    #[test]
    fn help_tells_of_every_command() {
        let Ok(Request::Say(text)) = request(&["--help"]) else { panic!("no help") };
        insta::assert_snapshot!(text);
    }
}
