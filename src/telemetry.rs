//! Logging, in text or JSON and without secrets.
//!
//! Third-party crates are logged only at warn and above, whatever RUST_LOG says: at lower levels they print
//! headers and bodies, which contain JWTs and prompts. In addition every line passes the redactor. Only the
//! writer thread of `lines` waits for the reader of the log; no other thread of the daemon does.

mod json;
mod lines;

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::json;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    config::{LogConfig, LogFormat, Problem},
    domain::{Redactor, redact_emails},
};
use json::Json;
use lines::Lines;

/// How long the process waits at its end until its last lines are written.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long a panic waits until its line is written. A panic may end the process, so it waits. It may also
/// end only one run of many, so the wait is short.
const LINES_OF_A_PANIC: Duration = Duration::from_millis(100);

/// The queue of all lines for standard output.
static LINES: Lines = Lines::new();

/// A guard for the end of the process. Dropping it waits until the last lines are written, for half a second
/// at most.
#[derive(Debug)]
#[must_use = "the last lines may be missing if it is dropped early"]
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        LINES.flush(LAST_LINES);
    }
}

/// Starts logging to standard output. Logging goes on until the end of the process.
///
/// # Errors
/// If logging was started before, or if the writer thread cannot be started.
#[expect(clippy::disallowed_methods, reason = "the thread that writes log lines")]
pub fn init(config: &LogConfig, redactor: Redactor) -> io::Result<LastLines> {
    let filter = EnvFilter::new(&config.filter);
    let lines = fmt::layer().with_ansi(false);
    let lines = match config.format {
        LogFormat::Text => lines.with_writer(move || Out(Some(redactor.clone()))).boxed(),
        LogFormat::Json => {
            let lines = lines.fmt_fields(Json(redactor.clone())).event_format(Json(redactor));
            lines.with_writer(|| Out(None)).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(may_be_logged)).with_filter(filter))
        .try_init()
        .map_err(io::Error::other)?;
    let write = || -> () {
        LINES.write_to(io::stdout(), |lines| {
            tracing::warn!(
                lines,
                "log lines are missing: they were not read in time, or could not be written"
            );
        })
    };
    let writer = thread::Builder::new().name(lines::WRITER.into()).spawn(write);
    writer.map_err(|error| io::Error::other(format!("no thread to write with: {error}")))?;
    log_panics();
    Ok(LastLines(()))
}

/// How many log lines were lost since the last call.
pub(crate) fn take_dropped_lines() -> u64 {
    LINES.take_dropped()
}

/// Whether lines of this origin and level may be logged. Lines of third-party crates below warn may contain
/// secrets.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_own = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
    is_own || *metadata.level() <= Level::WARN
}

/// Logs panics as errors, instead of printing text on standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.location = %location, "panic: {message}");
        LINES.flush(LINES_OF_A_PANIC);
    }));
}

/// Prints on standard error why the process cannot run. [`init`] need not have been called. In JSON each
/// problem has a line of its own; in text the problems are a list below `what`. The wait for a reader is
/// limited to half a second.
#[expect(clippy::disallowed_methods, reason = "standard error may have no reader")]
pub fn complain(format: LogFormat, what: &str, problems: &[Problem]) {
    let text = match format {
        LogFormat::Text => {
            let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            format!("{}: {what}{list}\n", env!("CARGO_PKG_NAME"))
        }
        LogFormat::Json if problems.is_empty() => json::line(&Level::ERROR, what, json!({})),
        LogFormat::Json => {
            let line = |problem: &Problem| {
                let data = json!({"variable": problem.variable});
                json::line(&Level::ERROR, &format!("{what} {problem}"), data)
            };
            problems.iter().map(line).collect()
        }
    };
    // Standard output may be the same stream. Lines that were logged before must come first.
    LINES.flush(LAST_LINES);
    let (done, ended) = mpsc::channel();
    let write = move || {
        // If standard error is closed, only the exit code reports the failure.
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write.clone()).is_ok() {
        let _ = ended.recv_timeout(LAST_LINES);
    } else {
        write();
    }
}

/// Puts lines into the queue. One write is one whole line. Text lines are redacted here (`Some`); JSON lines
/// are already redacted (`None`).
struct Out(Option<Redactor>);

impl Write for Out {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(redactor) => {
                let text = String::from_utf8_lossy(line);
                LINES.push(redact_emails(&redactor.redact(&text)).as_bytes());
            }
            None => LINES.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
