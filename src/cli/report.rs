//! Prints the report of a week, from the facts of a journal or of an export.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, IsTerminal, Read, Write},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::timeout;

use super::{Answer, arguments::Report, error::CliError, facts};
use crate::{
    config::Config, facts::window::Builder, journal::Journal, report::Document, whole_file,
};

/// How each file of SQLite begins.
const DATABASE: &[u8; 16] = b"SQLite format 3\0";
/// Longest wait for a journal that others are writing to, to pin runs in it.
const PINNING: Duration = Duration::from_secs(2);

/// The report of an export.
pub(super) fn of_export(file: &Path, asked: &Report) -> Result<String, CliError> {
    let document = document(facts::of_export(file)?, asked)?;
    hand_over(&document, asked)
}

/// The report of a journal.
pub(super) async fn of_journal(journal: &Journal, asked: &Report) -> Result<Answer, CliError> {
    let document = document(journal.facts_for(asked.days()?).await?, asked)?;
    let quoted_runs = document.quoted_runs().into_iter().map(str::to_owned).collect();
    Ok(Answer { text: hand_over(&document, asked)?, quoted_runs, ..Answer::default() })
}

/// Keeps the steps of the quoted runs, so that people can look at them later. A journal that cannot be written is no
/// error: what was asked for is the report.
pub(super) async fn pin(folder: &Path, runs: &[String], now: Timestamp) {
    if runs.is_empty() {
        return;
    }
    let pinned = async {
        let journal = Journal::open_beside_daemon(folder).await?;
        let runs: Vec<_> = runs.iter().map(String::as_str).collect();
        let pinned = journal.pin(&runs, now).await;
        journal.close().await;
        pinned
    };
    let _ = timeout(PINNING, pinned).await;
}

fn document(facts: Builder, asked: &Report) -> Result<Document<'static>, CliError> {
    let language = asked.lang.unwrap_or_else(Config::language_from_env);
    Ok(Document::new(&facts.finish(asked.days()?)?, language))
}

/// What is printed: nothing if the report is written to a file; `-` is standard output.
fn hand_over(document: &Document, asked: &Report) -> Result<String, CliError> {
    let text = document.text(asked.form(io::stdout().is_terminal()));
    let Some(file) = asked.out.as_ref().filter(|file| *file != Path::new("-")) else {
        return Ok(text);
    };
    if holds_facts(file, asked.facts.as_deref()) {
        return Err(CliError::OutOfFacts(file.clone()));
    }
    write_file(file, &text).map_err(|error| CliError::Out(file.clone(), error))?;
    Ok(String::new())
}

/// Whether the file is the export that was read, or a journal.
fn holds_facts(file: &Path, export: Option<&Path>) -> bool {
    let found = fs::canonicalize(file);
    let is_export = export.is_some_and(|it| {
        fs::canonicalize(it).is_ok_and(|it| found.as_ref().is_ok_and(|file| *file == it))
    });
    let begin = || {
        let mut begin = [0; DATABASE.len()];
        let is_file = fs::metadata(file).is_ok_and(|found| found.is_file());
        is_file
            && File::open(file).and_then(|mut file| file.read_exact(&mut begin)).is_ok()
            && begin == *DATABASE
    };
    is_export || begin()
}

/// Writes a file as a whole: nobody sees a part of it, and what was there stays if it cannot be written.
fn write_file(file: &Path, text: &str) -> io::Result<()> {
    // What a link points to, so that the link stays.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    // A pipe or a device is not to be replaced.
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return File::options().write(true).open(file)?.write_all(text.as_bytes());
    }
    let mut name = OsString::from(file);
    name.push(format!(".{}.tmp", std::process::id()));
    whole_file::replace(file, Path::new(&name), 0o666, text)
}
