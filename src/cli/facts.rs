//! Reads the facts of an export line by line, for the commands that answer from a journal or from an export.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use super::error::CliError;
use crate::facts::{ReadError, export, window::Builder};

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
