//! Reads the facts of a journal or of an export line by line, for the commands that answer from either.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use super::error::CliError;
use crate::{
    facts::{ReadError, export, window::Builder},
    journal::{History, Journal},
};

/// The facts of the export `file`; `-` is standard input.
pub(super) fn of_export(file: &Path) -> Result<Builder, CliError> {
    let mut builder = Builder::default();
    read(file, &mut builder).map_err(|error| CliError::Facts(file.to_owned(), error))?;
    Ok(builder)
}

fn read(file: &Path, builder: &mut Builder) -> Result<(), ReadError> {
    let take = |line| builder.take(line);
    match file == Path::new("-") {
        true => export::read(io::stdin().lock(), take),
        false => export::read(BufReader::new(File::open(file)?), take),
    }
}

/// The facts of all days of a journal.
pub(super) async fn of_journal(journal: &Journal, history: History) -> Result<Builder, CliError> {
    let mut builder = Builder::default();
    let mut taken = Ok(());
    let each = |line| {
        if taken.is_ok() {
            taken = builder.take(line);
        }
    };
    journal.facts_lines(None, history, each).await?;
    taken.map_err(CliError::Contradiction)?;
    Ok(builder)
}
