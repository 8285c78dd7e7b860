//! The command line: what the process is asked to do, and what is read from a journal for people.
//!
//! The journal may be a running daemon's. It is only read, but for what `outbox retry` marks and
//! `outbox discard` throws away.
//! Whatever peers or the model wrote passes `text::printable` before it reaches a terminal.

mod arguments;
mod outbox;
mod runs;
mod show;
mod text;
mod transcript;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::Timestamp;

pub use arguments::{Question, Request, RunPrefix, Unparsed, parse};

use crate::{
    config::LogFormat,
    domain::RunId,
    journal::{Journal, JournalError, RunRow},
    telemetry,
};

/// Runs that are named where a beginning of an id fits several.
const CANDIDATES: u32 = 10;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The journal cannot be used.
    #[error("{source} (RUNNER_DATA_DIR: {folder})", folder = folder.display())]
    Journal {
        /// Where it was looked for.
        folder: PathBuf,
        /// What is wrong with it.
        source: JournalError,
    },
    /// No run begins like this.
    #[error("the journal has no run {0}; `mana-persona-runner runs` lists the latest")]
    NoSuchRun(RunPrefix),
    /// Several do.
    #[error("{prefix} is the beginning of several runs; say more of it:{list}")]
    Ambiguous {
        /// What was asked for.
        prefix: RunPrefix,
        /// Some of the runs, a line for each.
        list: String,
    },
    /// The answer could not be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Answers `question` about the journal in `folder` on standard output, or says on standard error why
/// not: for whoever typed the command, so in words whatever LOG_FORMAT the daemon has.
pub async fn run(question: &Question, folder: &Path) -> ExitCode {
    match answer(question, folder, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(LogFormat::Text, &error.to_string(), &[]);
            ExitCode::FAILURE
        }
    }
}

/// Answers `question` about the journal in `folder`, on `output`.
///
/// # Errors
/// When the journal cannot be used, a run is not in it, or the answer cannot be written. That nobody
/// reads it to its end (`| head`) is no error.
#[expect(clippy::disallowed_methods, reason = "there is no daemon whose clock it could take")]
pub async fn answer(
    question: &Question,
    folder: &Path,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let of_journal = |source| CliError::Journal { folder: folder.into(), source };
    let opened = match question {
        Question::RetryOutbox | Question::DiscardFromOutbox { .. } => {
            Journal::open_beside_daemon(folder).await
        }
        _ => Journal::open_read_only(folder).await,
    };
    let journal = opened.map_err(of_journal)?;
    let text = tell(question, &journal, Timestamp::now()).await;
    journal.close().await;
    let text = text.map_err(|refusal| match refusal {
        Refusal::Journal(source) => of_journal(source),
        Refusal::NoSuchRun(prefix) => CliError::NoSuchRun(prefix),
        Refusal::Ambiguous(prefix, runs) => {
            let list = runs.iter().map(|run| format!("\n  {run}")).collect();
            CliError::Ambiguous { prefix, list }
        }
    })?;
    write(output, &text).map_err(CliError::Output)
}

/// Writes all of `text`, as far as somebody reads it.
///
/// # Errors
/// When it cannot be written for another reason than a closed pipe.
pub fn write(output: &mut impl Write, text: &str) -> io::Result<()> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Why there is nothing to tell.
#[derive(Debug)]
enum Refusal {
    Journal(JournalError),
    NoSuchRun(RunPrefix),
    Ambiguous(RunPrefix, Vec<RunId>),
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

async fn tell(question: &Question, journal: &Journal, now: Timestamp) -> Result<String, Refusal> {
    match question {
        Question::Runs { limit } => Ok(runs::tell(journal, *limit).await?),
        Question::Show { run, full } => {
            let run = the_run(journal, run).await?;
            Ok(show::tell(journal, &run, *full).await?)
        }
        Question::Outbox => Ok(outbox::tell(journal, now).await?),
        Question::RetryOutbox => Ok(outbox::retry(journal, now).await?),
        Question::DiscardFromOutbox { run } => {
            let run = the_run(journal, run).await?;
            Ok(outbox::discard(journal, &run).await?)
        }
    }
}

/// The only run that begins like this.
async fn the_run(journal: &Journal, prefix: &RunPrefix) -> Result<RunRow, Refusal> {
    let mut found = journal.runs_beginning_with(prefix.as_str(), CANDIDATES).await?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Refusal::NoSuchRun(prefix.clone())),
        (Some(run), true) => Ok(run),
        (Some(last), false) => {
            let runs = found.iter().chain([&last]).map(|run| run.id).collect();
            Err(Refusal::Ambiguous(prefix.clone(), runs))
        }
    }
}

#[cfg(test)]
mod tests;
