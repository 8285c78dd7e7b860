//! The command line: parses the arguments of the process, and prints runs, the outbox and the facts of a journal.
//!
//! The journal may belong to a running daemon. The commands only read it, except `outbox retry`, which marks
//! posts, `outbox discard`, which deletes posts, and `frictions mute`, `frictions unmute` and `release`, which leave
//! a row each. Text from peers or the model passes `text::printable`
//! before it reaches a terminal.

mod arguments;
mod compare;
mod error;
mod export;
mod facts;
mod frictions;
mod mute;
mod plan;
mod release;
mod report;
mod runs;
mod show;
mod text;
mod transcript;
mod undelivered;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use jiff::Timestamp;

pub(crate) use arguments::{FrictionsCommand, OutboxCommand, Question, RunPrefix, RunsCommand};
pub use arguments::{Plan, Request, parse};
pub use error::{CliError, EX_USAGE};

use arguments::{Compare, Discarded, Frictions, Report};

use crate::{
    config::LogFormat,
    domain,
    journal::{Journal, RunRow},
    telemetry,
};

/// Most runs that are listed if a prefix matches several run ids.
const CANDIDATES: u32 = 10;

/// Carries out the command `question` on the journal in `folder` and prints the result to standard output. A remark
/// and an error are printed to standard error as plain text, whatever LOG_FORMAT is set, because a person typed the
/// command.
pub async fn run(question: &Question, folder: &Path) -> ExitCode {
    let complain = |text: &str| telemetry::complain(LogFormat::Text, text, &[]);
    match answer(question, folder, &mut io::stdout()).await {
        Ok(Ending { code, remark }) => {
            if let Some(remark) = remark {
                complain(&remark);
            }
            ExitCode::from(code)
        }
        Err(error) => {
            complain(&error.with_folder(folder));
            ExitCode::from(error.exit_code())
        }
    }
}

/// How a command that has an answer ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The exit code of the process.
    pub code: u8,
    /// A line for standard error.
    pub remark: Option<String>,
}

/// What a command prints, and how it ends.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    ending: Ending,
    /// The runs whose steps are kept for longer, because the text quotes them.
    quoted_runs: Vec<String>,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// Carries out the command `question` on the journal in `folder` and writes the result to `output`.
///
/// # Errors
/// When the journal cannot be used, a run is not found, or the result cannot be written. A closed pipe
/// (`| head`) is no error.
#[expect(clippy::disallowed_methods, reason = "there is no daemon whose clock it could take")]
pub async fn answer(
    question: &Question,
    folder: &Path,
    output: &mut impl Write,
) -> Result<Ending, CliError> {
    question.check()?;
    if let Some(Answer { text, ending, .. }) = of_export(question)? {
        write(output, &text)?;
        return Ok(ending);
    }
    let journal = match question.changes_the_journal() {
        true => Journal::open_beside_daemon(folder).await?,
        false => Journal::open_read_only(folder).await?,
    };
    let answered = match question {
        // The facts of a year do not fit into memory.
        Question::Export(asked) => {
            export::print(&journal, asked, output).await.map(|()| Ending::default())
        }
        _ => match render(question, &journal, Timestamp::now()).await {
            Ok(Answer { text, ending, quoted_runs }) => {
                let written = write(output, &text);
                report::pin(folder, &quoted_runs, Timestamp::now()).await;
                written.map(|()| ending).map_err(CliError::from)
            }
            Err(error) => Err(error),
        },
    };
    journal.close().await;
    answered
}

/// The answer to a question about an export; `None` if `question` is one about a journal.
fn of_export(question: &Question) -> Result<Option<Answer>, CliError> {
    Ok(match question {
        Question::Frictions {
            asked: asked @ Frictions { facts: Some(file), .. },
            command: None,
        } => Some(frictions::of_export(file, asked)?.into()),
        Question::Compare(asked @ Compare { facts: Some(file), .. }) => {
            Some(compare::of_export(file, asked)?)
        }
        Question::Report(asked @ Report { facts: Some(file), .. }) => {
            Some(report::of_export(file, asked)?.into())
        }
        _ => None,
    })
}

/// Prints a plan to standard output, in the form that was asked for. The exit code says whether the caps leave room for
/// it.
pub fn print_plan(plan: &domain::Plan, asked: &Plan) -> ExitCode {
    match write(&mut io::stdout(), &plan::render(plan, asked)) {
        Ok(()) if plan.is_short() => ExitCode::from(plan::EX_SHORT),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(LogFormat::Text, &CliError::from(error).to_string(), &[]);
            ExitCode::FAILURE
        }
    }
}

/// Writes `text` and flushes. A closed pipe ends the output without an error.
///
/// # Errors
/// When the text cannot be written for another reason than a closed pipe.
pub fn write(output: &mut impl Write, text: &str) -> io::Result<()> {
    export::unless_closed(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

async fn render(query: &Question, journal: &Journal, now: Timestamp) -> Result<Answer, CliError> {
    let text = match query {
        Question::Show(show) | Question::Runs { command: Some(RunsCommand::Show(show)), .. } => {
            show::render(journal, &the_run(journal, &show.run).await?, show.full).await?
        }
        Question::Runs { limit, command: None } => runs::render(journal, *limit).await?,
        Question::Outbox { command: None } => undelivered::render(journal, now).await?,
        Question::Outbox { command: Some(OutboxCommand::Retry) } => {
            undelivered::retry(journal, now).await?
        }
        Question::Outbox {
            command: Some(OutboxCommand::Discard { what: Discarded::Run(run) }),
        } => undelivered::discard(journal, &the_run(journal, run).await?).await?,
        Question::Outbox {
            command: Some(OutboxCommand::Discard { what: Discarded::Report(week) }),
        } => undelivered::discard_report(journal, *week).await?,
        Question::Frictions { asked, command: None } => {
            frictions::of_journal(journal, asked).await?
        }
        Question::Frictions { command: Some(FrictionsCommand::Mute(asked)), .. } => {
            mute::mute(journal, asked).await?
        }
        Question::Frictions { command: Some(FrictionsCommand::Unmute { id }), .. } => {
            mute::unmute(journal, id).await?
        }
        Question::Compare(asked) => return compare::of_journal(journal, asked).await,
        Question::Report(asked) => return report::of_journal(journal, asked).await,
        Question::Export(_) => String::new(),
        Question::Release(asked) => release::render(journal, asked).await?,
    };
    Ok(text.into())
}

/// The only run whose id begins with this prefix.
async fn the_run(journal: &Journal, RunPrefix(prefix): &RunPrefix) -> Result<RunRow, CliError> {
    let mut found = journal.runs_beginning_with(prefix, CANDIDATES).await?;
    if found.len() > 1 {
        let list = found.iter().map(|run| format!("\n  {}", run.id)).collect();
        return Err(CliError::Ambiguous(prefix.clone(), list));
    }
    found.pop().ok_or_else(|| CliError::NoSuchRun(prefix.clone()))
}

#[cfg(test)]
mod tests;
