//! The command line: what the process is asked to do, and what is read from a journal for people.
//!
//! The journal may be a running daemon's. It is only read, but for what `outbox retry` marks and
//! `outbox discard` throws away.
//! Whatever peers or the model wrote passes `text::printable` before it reaches a terminal.

mod arguments;
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

pub(crate) use arguments::{OutboxCommand, Question, RunPrefix, RunsCommand};
pub use arguments::{Request, parse};

use crate::{
    config::LogFormat,
    journal::{Journal, JournalError, RunRow},
    telemetry,
};

/// Runs that are named where a beginning of an id fits several.
const CANDIDATES: u32 = 10;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No run begins like this.
    #[error("the journal has no run {0}; `mana-persona-runner runs` lists the latest")]
    NoSuchRun(String),
    /// Several do; some of them, a line for each.
    #[error("{0} is the beginning of several runs; say more of it:{1}")]
    Ambiguous(String, String),
    /// The answer could not be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// What is wrong, and where the journal was looked for.
    fn with_folder(&self, folder: &Path) -> String {
        match self {
            Self::Journal(error) => format!("{error} (RUNNER_DATA_DIR: {})", folder.display()),
            error => error.to_string(),
        }
    }
}

/// Answers `question` about the journal in `folder` on standard output, or says on standard error why
/// not: for whoever typed the command, so in words whatever LOG_FORMAT the daemon has.
pub async fn run(question: &Question, folder: &Path) -> ExitCode {
    match answer(question, folder, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(LogFormat::Text, &error.with_folder(folder), &[]);
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
    let journal = match question {
        Question::Outbox { command: Some(_) } => Journal::open_beside_daemon(folder).await?,
        _ => Journal::open_read_only(folder).await?,
    };
    let text = tell(question, &journal, Timestamp::now()).await;
    journal.close().await;
    Ok(write(output, &text?)?)
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

async fn tell(question: &Question, journal: &Journal, now: Timestamp) -> Result<String, CliError> {
    Ok(match question {
        Question::Show(show) | Question::Runs { command: Some(RunsCommand::Show(show)), .. } => {
            show::tell(journal, &the_run(journal, &show.run).await?, show.full).await?
        }
        Question::Runs { limit, command: None } => runs::tell(journal, *limit).await?,
        Question::Outbox { command: None } => undelivered::tell(journal, now).await?,
        Question::Outbox { command: Some(OutboxCommand::Retry) } => {
            undelivered::retry(journal, now).await?
        }
        Question::Outbox { command: Some(OutboxCommand::Discard { run }) } => {
            undelivered::discard(journal, &the_run(journal, run).await?).await?
        }
    })
}

/// The only run that begins like this.
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
