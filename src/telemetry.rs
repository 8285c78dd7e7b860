//! Logs: set up once, in text or JSON, with secrets kept out.
//!
//! Third-party crates are logged at warn and above only, whatever RUST_LOG says: at lower levels they print
//! headers and bodies, which carry JWTs and prompts. Every line passes the redactor besides. No thread of the daemon waits for whoever reads the log; `lines` has the one that does.

mod json;
mod lines;

use std::{
    io::{self, Write},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Map, Value};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    config::{LogConfig, LogFormat, Problem},
    domain::{Redactor, redact_emails},
};
use json::JsonLines;
use lines::Lines;

/// How long the end of the process waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long a panic does: it may be the end of the process, or of one run among many.
const LINES_OF_A_PANIC: Duration = Duration::from_millis(100);

/// Every line on its way to standard output.
static LINES: Lines = Lines::new();

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It was started before.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// The thread that writes cannot be had.
    #[error("no thread to write with: {0}")]
    Thread(#[from] io::Error),
}

/// Lets the last lines be written before it is gone, for half a second at most.
#[derive(Debug)]
#[must_use = "the last lines may be missing if it is dropped early"]
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        LINES.flush(LAST_LINES);
    }
}

/// Starts logging to standard output for the rest of the process.
///
/// # Errors
/// When logging was started before, or there is no thread for it.
#[expect(clippy::disallowed_methods, reason = "the thread that writes log lines")]
pub fn init(config: &LogConfig, redactor: Redactor) -> Result<LastLines, InitError> {
    let filter = EnvFilter::new(&config.filter);
    let lines = match config.format {
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(Redacting(redactor)).boxed(),
        LogFormat::Json => JsonLines::new(redactor).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(may_be_logged)).with_filter(filter))
        .try_init()?;
    let write = || -> () {
        LINES.write_to(io::stdout(), |lines| {
            tracing::warn!(
                lines,
                "log lines are missing: they were not read in time, or could not be written"
            );
        })
    };
    thread::Builder::new().name(lines::WRITER.into()).spawn(write)?;
    log_panics();
    Ok(LastLines(()))
}

/// How many log lines were lost since this was last asked.
pub fn take_dropped_lines() -> u64 {
    LINES.take_dropped()
}

/// Whether a line of this origin and level can be trusted not to carry what must stay inside.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_own = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
    is_own || *metadata.level() <= Level::WARN
}

/// A panic becomes a log line like any other error, instead of text on standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.location = %location, "panic: {message}");
        LINES.flush(LINES_OF_A_PANIC);
    }));
}

/// Tells on standard error why the process cannot run, where [`init`] may not have taken place: a line
/// of its own for every problem in JSON, a list under `what` in text. Does not wait long for a reader.
pub fn complain(format: LogFormat, what: &str, problems: &[Problem]) {
    let mut text = Vec::new();
    // Into memory it cannot fail.
    let _ = match format {
        LogFormat::Text => {
            let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            writeln!(text, "{}: {what}{list}", env!("CARGO_PKG_NAME"))
        }
        LogFormat::Json if problems.is_empty() => {
            json::write(&mut text, &Level::ERROR, what, &Map::new())
        }
        LogFormat::Json => problems.iter().try_for_each(|problem| {
            let data = Map::from_iter([("variable".to_owned(), Value::from(problem.variable))]);
            json::write(&mut text, &Level::ERROR, &format!("{what} {problem}"), &data)
        }),
    };
    // Where both are one stream, what was logged before comes first.
    LINES.flush(LAST_LINES);
    write_to_stderr(text.into());
}

#[expect(clippy::disallowed_methods, reason = "the thread that writes log lines")]
fn write_to_stderr(text: Arc<[u8]>) {
    let (done, ended) = mpsc::channel();
    let write = {
        let text = text.clone();
        move || {
            // Where standard error is closed, the exit code says it alone.
            let _ = io::stderr().write_all(&text);
            let _ = done.send(());
        }
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = ended.recv_timeout(LAST_LINES);
    } else {
        let _ = io::stderr().write_all(&text);
    }
}

/// Hands lines on behind the redactor. One write is one whole line.
#[derive(Clone)]
struct Redacting(Redactor);

impl<'a> MakeWriter<'a> for Redacting {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Redacting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        LINES.push(redact_emails(&self.0.redact(&text)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
