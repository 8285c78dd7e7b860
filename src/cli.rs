//! The command line: parses the arguments of the process, and prints runs and the outbox of a journal.
//!
//! The journal may belong to a running daemon. The commands only read it, except `outbox retry`, which marks
//! posts, and `outbox discard`, which deletes posts. Text from peers or the model passes `text::printable`
//! before it reaches a terminal.

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

/// Most runs that are listed if a prefix matches several run ids.
const CANDIDATES: u32 = 10;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No run id begins with this prefix.
    #[error("the journal has no run {0}; `mana-persona-runner runs` lists the latest")]
    NoSuchRun(String),
    /// Several run ids begin with this prefix. The second text lists some of them, one on each line.
    #[error("{0} is the beginning of several runs; say more of it:{1}")]
    Ambiguous(String, String),
    /// Standard output could not be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The error text; for an error of the journal with the folder in which the journal was searched.
    fn with_folder(&self, folder: &Path) -> String {
        match self {
            Self::Journal(error) => format!("{error} (RUNNER_DATA_DIR: {})", folder.display()),
            error => error.to_string(),
        }
    }
}

/// Carries out the command `question` on the journal in `folder` and prints the result to standard output. An
/// error is printed to standard error as plain text, whatever LOG_FORMAT is set, because a person typed the
/// command.
pub async fn run(question: &Question, folder: &Path) -> ExitCode {
    match answer(question, folder, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(LogFormat::Text, &error.with_folder(folder), &[]);
            ExitCode::FAILURE
        }
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
) -> Result<(), CliError> {
    let journal = match question {
        Question::Outbox { command: Some(_) } => Journal::open_beside_daemon(folder).await?,
        _ => Journal::open_read_only(folder).await?,
    };
    let text = render(question, &journal, Timestamp::now()).await;
    journal.close().await;
    Ok(write(output, &text?)?)
}

/// Writes `text` and flushes. A closed pipe ends the output without an error.
///
/// # Errors
/// When the text cannot be written for another reason than a closed pipe.
pub fn write(output: &mut impl Write, text: &str) -> io::Result<()> {
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

async fn render(query: &Question, journal: &Journal, now: Timestamp) -> Result<String, CliError> {
    Ok(match query {
        Question::Show(show) | Question::Runs { command: Some(RunsCommand::Show(show)), .. } => {
            show::render(journal, &the_run(journal, &show.run).await?, show.full).await?
        }
        Question::Runs { limit, command: None } => runs::render(journal, *limit).await?,
        Question::Outbox { command: None } => undelivered::render(journal, now).await?,
        Question::Outbox { command: Some(OutboxCommand::Retry) } => {
            undelivered::retry(journal, now).await?
        }
        Question::Outbox { command: Some(OutboxCommand::Discard { run }) } => {
            undelivered::discard(journal, &the_run(journal, run).await?).await?
        }
    })
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
