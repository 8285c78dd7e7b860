//! Prints the facts of a journal as an export.

use std::io::{self, BufWriter, Write};

use super::{arguments::Export, error::CliError};
use crate::{
    facts::export,
    journal::{History, Journal},
};

/// Writes the facts line by line while they are read. A closed pipe (`| head`) is no error.
pub(super) async fn print(
    journal: &Journal,
    asked: &Export,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let mut output = BufWriter::new(output);
    let mut written = Ok(());
    let range = asked.range.days()?;
    let each = |line| {
        if written.is_ok() {
            written = export::write(&mut output, &line);
        }
    };
    journal.facts_lines(range, History::All, each).await?;
    Ok(unless_closed(written.and_then(|()| output.flush()))?)
}

/// `written`, but a closed pipe is no error.
pub(super) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}
