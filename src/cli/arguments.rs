//! Parses the arguments of the process.

mod facts;

use std::{ffi::OsString, str::FromStr};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

pub use facts::Plan;
pub(super) use facts::{Compare, Export, Format, Frictions, Mute, Release, Report};
pub(crate) use facts::{FrictionsCommand, ImpossibleRange};

use super::text::cell;
use crate::{
    domain::{NotAWeek, RunIdError, Week},
    version::VERSION_AND_COMMIT,
};

/// Longest text about arguments that make no sense, in characters.
const LONGEST_PROBLEM: usize = 500;
/// Length of a complete run id, in characters.
const ID_LEN: usize = 36;
/// Shown by `--help`. Written by hand, because clap's own text would not list `--healthcheck`.
const USAGE: &str = "\
mana-persona-runner                      run the daemon; docs/configuration.md lists the environment variables
       mana-persona-runner --healthcheck        ask the daemon on this machine for /health
       mana-persona-runner --version
       mana-persona-runner <COMMAND>            use the journal in RUNNER_DATA_DIR";

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
    // Not clap's own flag, because that would accept any arguments after it.
    /// Print the version
    #[arg(long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Query(Question),
    /// Say who would run in a tick that begins now, and what it would cost; needs the daemon's variables
    Plan(Plan),
}

/// A command that reads a journal, or leaves something in it for the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Question {
    /// List the latest runs, newest first
    #[command(args_conflicts_with_subcommands = true)]
    Runs {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Without it, the latest runs are listed.
        #[command(subcommand)]
        command: Option<RunsCommand>,
    },
    /// Print one run as a conversation
    Show(Show),
    /// List the rows that mana-auth has not confirmed yet, and the reports that the webhook has not taken
    Outbox {
        /// Without it, the rows and the reports are listed.
        #[command(subcommand)]
        command: Option<OutboxCommand>,
    },
    /// List what hurts in the product, worst first
    #[command(args_conflicts_with_subcommands = true)]
    Frictions {
        #[command(flatten)]
        asked: Frictions,
        /// Without it, the frictions are listed.
        #[command(subcommand)]
        command: Option<FrictionsCommand>,
    },
    /// Print what a team must know about a week: what hurts, what changed, what was not tested
    Report(Report),
    /// Say whether the product has become worse since a deployment; exit code 3 if it has
    Compare(Compare),
    /// Print the facts as JSON lines, for `report --facts`, `compare --facts` and other programs
    Export(Export),
    /// Tell the runner that the product has a new version
    Release(Release),
}

impl Question {
    /// Whether the command leaves something in the journal.
    pub(super) fn changes_the_journal(&self) -> bool {
        matches!(
            self,
            Self::Outbox { command: Some(_) }
                | Self::Frictions { command: Some(_), .. }
                | Self::Release(_)
        )
    }

    /// Checks the days that are asked for, before a journal or an export is opened.
    ///
    /// # Errors
    /// If the last day is before the first one.
    pub(super) fn check(&self) -> Result<(), ImpossibleRange> {
        match self {
            Self::Frictions { asked, .. } => asked.range.days().map(drop),
            Self::Report(asked) => asked.days().map(drop),
            Self::Export(asked) => asked.range.days().map(drop),
            _ => Ok(()),
        }
    }
}

/// The commands below `runs`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum RunsCommand {
    /// Print one run as a conversation
    Show(Show),
}

/// The arguments of `show`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Show {
    /// The run's id, or a beginning of it that no other run has
    pub run: RunPrefix,
    /// Print long texts whole
    #[arg(long)]
    pub full: bool,
}

/// The commands below `outbox`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum OutboxCommand {
    /// Have everything in the outbox sent again at once, what was refused for good included
    Retry,
    /// Throw away what was refused for good of one run or of one week's report, where nothing can be repaired
    Discard {
        /// The run's id, or a beginning of it that no other run has; or a week, such as 2026-W46
        what: Discarded,
    },
}

/// What the arguments ask the process to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run the daemon until a stop.
    Serve,
    /// Request /health from the daemon on this machine.
    Healthcheck,
    /// Print this text: the version or the help.
    Print(String),
    /// Carry out a command on a journal.
    Query(Question),
    /// Plan a tick.
    Plan(Plan),
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

/// What is given up: rows of a run, or the report of a week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// Rows of a run.
    Run(RunPrefix),
    /// The report of this week.
    Report(Week),
}

/// The text names neither a run nor a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the beginning of a run's id, or a week such as 2026-W46")]
pub struct NeitherRunNorWeek;

impl FromStr for Discarded {
    type Err = NeitherRunNorWeek;

    fn from_str(text: &str) -> Result<Self, NeitherRunNorWeek> {
        // No run id has a W.
        let run = || text.parse().map(Self::Run).map_err(|_: RunIdError| NeitherRunNorWeek);
        text.parse().map(Self::Report).or_else(|_: NotAWeek| run())
    }
}

/// Parses the arguments of the process. The first one is the name of the program.
///
/// # Errors
/// When the arguments are invalid: one line that names the problem. If they name no command, the usage follows.
pub fn parse<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> Result<Request, String> {
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments { version: true, .. }) => {
            Ok(Request::Print(format!("mana-persona-runner {VERSION_AND_COMMIT}\n")))
        }
        Ok(Arguments { healthcheck: true, .. }) => Ok(Request::Healthcheck),
        Ok(Arguments { command: None, .. }) => Ok(Request::Serve),
        Ok(Arguments { command: Some(Command::Query(query)), .. }) => Ok(Request::Query(query)),
        Ok(Arguments { command: Some(Command::Plan(asked)), .. }) => Ok(Request::Plan(asked)),
        Err(help) if help.kind() == ErrorKind::DisplayHelp => Ok(Request::Print(help.to_string())),
        Err(wrong) => Err(problem(&wrong.to_string())),
    }
}

/// What is wrong with the arguments, in one line: clap's text without the usage, unless that is the usage of the program,
/// which lists the commands.
fn problem(text: &str) -> String {
    let text = text.trim_end().trim_start_matches("error: ");
    if text.contains(USAGE) {
        return text.to_owned();
    }
    let (what, _) = text.rsplit_once("\n\nFor more information").unwrap_or((text, ""));
    let (what, _) = what.rsplit_once("\n\nUsage: ").unwrap_or((what, ""));
    let what = what.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}; --help tells more", cell(&what, LONGEST_PROBLEM))
}

#[cfg(test)]
mod tests {
    use super::{facts::Range, *};

    fn request(arguments: &[&str]) -> Result<Request, String> {
        parse([&["mana-persona-runner"], arguments].concat())
    }

    fn prefix(text: &str) -> RunPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn every_command_is_understood() {
        let run = || prefix("019a-b");
        let show = |full| Request::Query(Question::Show(Show { run: run(), full }));
        let runs = |limit, command| Request::Query(Question::Runs { limit, command });
        let runs_show = Some(RunsCommand::Show(Show { run: run(), full: true }));
        let outbox = |command| Request::Query(Question::Outbox { command });
        let discard = |what| Some(OutboxCommand::Discard { what });
        let week = "2026-W46".parse().unwrap();
        for (arguments, expected) in [
            (&[][..], Request::Serve),
            (&["--healthcheck"], Request::Healthcheck),
            (&["--version"], Request::Print(format!("mana-persona-runner {VERSION_AND_COMMIT}\n"))),
            (&["runs"], runs(20, None)),
            (&["runs", "--limit", "7"], runs(7, None)),
            (&["show", "019A-b"], show(false)),
            (&["show", "--full", "019a-b"], show(true)),
            (&["runs", "show", "019a-b", "--full"], runs(20, runs_show)),
            (&["outbox"], outbox(None)),
            (&["outbox", "retry"], outbox(Some(OutboxCommand::Retry))),
            (&["outbox", "discard", "019a-b"], outbox(discard(Discarded::Run(run())))),
            (&["outbox", "discard", "2026-W46"], outbox(discard(Discarded::Report(week)))),
        ] {
            assert_eq!(request(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn the_commands_about_facts_are_understood() {
        let asked = |days, format| Frictions { days, range: Range::default(), format, facts: None };
        let frictions = |asked| Request::Query(Question::Frictions { asked, command: None });
        let below = |command| {
            let asked = asked(28, Format::Text);
            Request::Query(Question::Frictions { asked, command: Some(command) })
        };
        let until = jiff::civil::date(2026, 12, 24);
        let (id, reason) = ("F-K3QA".to_owned(), "known, MANA-123".to_owned());
        let release = |note, format| {
            let version = crate::domain::ProductVersion::parse("1.2 b").unwrap();
            Request::Query(Question::Release(Release { version, note, format }))
        };
        let compare = |a: Option<&str>, b: Option<&str>, strict| {
            let (a, b) = (a.map(str::to_owned), b.map(str::to_owned));
            let (format, facts) = (Format::Text, None);
            Request::Query(Question::Compare(Compare { a, b, strict, format, facts }))
        };
        let export = Request::Query(Question::Export(Export { range: Range::default() }));
        let report = |asked| Request::Query(Question::Report(asked));
        let written = Report {
            week: "2026-W46".parse().ok(),
            lang: Some(crate::domain::Language::English),
            format: Some(crate::report::Form::Markdown),
            out: Some("a.md".into()),
            ..Report::default()
        };
        let facts = Some("-".into());
        for (arguments, expected) in [
            (&["frictions"][..], frictions(asked(28, Format::Text))),
            (&["frictions", "--days", "7"], frictions(asked(7, Format::Text))),
            (&["frictions", "--format", "json"], frictions(asked(28, Format::Json))),
            (
                &["frictions", "--facts", "-"],
                frictions(Frictions { facts, ..asked(28, Format::Text) }),
            ),
            (
                &["frictions", "mute", "F-K3QA", "--until", "2026-12-24", "--reason", &reason],
                below(FrictionsCommand::Mute(Mute {
                    id: id.clone(),
                    until,
                    reason: reason.clone(),
                })),
            ),
            (&["frictions", "unmute", "F-K3QA"], below(FrictionsCommand::Unmute { id })),
            (&["compare"], compare(None, None, false)),
            (&["compare", "D-1", "--strict"], compare(Some("D-1"), None, true)),
            (&["compare", "D-1", "1.2 b"], compare(Some("D-1"), Some("1.2 b"), false)),
            (&["report"], report(Report::default())),
            (
                &[
                    "report", "--week", "2026-W46", "--lang", "en", "--format", "md", "--out",
                    "a.md",
                ],
                report(written),
            ),
            (&["export"], export),
            (&["release", "1.2 b"], release(None, Format::Text)),
            (
                &["release", "1.2 b", "--note", "new editor", "--format", "json"],
                release(Some("new editor".into()), Format::Json),
            ),
        ] {
            assert_eq!(request(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_one_line() {
        for arguments in [
            &["runs", "--limit", "0"][..],
            &["runs", "--limit", "5", "show", "019a"],
            &["show"],
            &["show", "not-an-id"],
            &["show", "%"],
            &["show", ""],
            &["outbox", "drop"],
            &["outbox", "discard"],
            &["outbox", "discard", "2026-W54"],
            &["frictions", "--days", "0"],
            &["frictions", "--days", "7", "--from", "2026-11-18", "--to", "2026-11-18"],
            &["frictions", "--from", "2026-11-18"],
            &["frictions", "--from", "18.11.2026", "--to", "2026-11-18"],
            &["frictions", "--days", "7", "unmute", "F-K3QA"],
            &["frictions", "mute", "F-K3QA", "--until", "2026-12-24"],
            &["frictions", "mute", "F-K3QA", "--reason", "known"],
            &["export", "--to", "2026-11-18"],
            &["report", "--week", "2026-W54"],
            &["report", "--week", "2026-W46", "--from", "2026-11-18", "--to", "2026-11-18"],
            &["report", "--lang", "fr"],
            &["release"],
            &["release", "a\nb"],
            &["release", "a\n\nb\u{1b}[2J"],
            &["frictions", "--format", &"x".repeat(10_000)],
        ] {
            let Err(text) = request(arguments) else {
                panic!("{arguments:?}: {:?}", request(arguments));
            };
            assert!(text.ends_with("; --help tells more"), "{text}");
            assert!(text.lines().count() == 1 && !text.starts_with("error"), "{text}");
        }
    }

    #[test]
    fn without_a_command_the_usage_lists_the_commands() {
        for arguments in [
            &["--version", "now"][..],
            &["--nonsense"],
            &["run"],
            &["--healthcheck", "runs"],
            &["--healthcheck", "--version"],
        ] {
            let Err(text) = request(arguments) else { panic!("{arguments:?}") };
            assert!(text.contains("--healthcheck") && !text.starts_with("error"), "{text}");
        }
    }

    #[test]
    fn the_line_says_what_is_wrong() {
        for (arguments, expected) in [
            (
                &["frictions", "--days", "0"][..],
                "invalid value '0' for '--days <DAYS>': 0 is not in 1..=100000",
            ),
            (
                &["frictions", "--from", "2026-11-18"],
                "required arguments were not provided: --to <DATE>",
            ),
            (
                &["export", "--from", "18.11.", "--to", "2026-11-18"],
                "expected a date such as 2026-11-18",
            ),
            (&["frictions", "--format", "html"], "[possible values: text, json]"),
            (&["report", "--format", "text"], "[possible values: html, md, json]"),
            (&["report", "--week", "46"], "expected a week such as 2026-W46"),
            (
                &["outbox", "discard", "2026-W54"],
                "expected the beginning of a run's id, or a week such as 2026-W46",
            ),
            (&["frictions", "mute", "F-AAAA"], "not provided: --until <DATE> --reason <TEXT>"),
        ] {
            let text = request(arguments).unwrap_err();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn help_tells_of_every_command() {
        let Ok(Request::Print(text)) = request(&["--help"]) else { panic!("no help") };
        insta::assert_snapshot!(text);
    }
}
