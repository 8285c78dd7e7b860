//! Logs: set up once, in text or JSON, with secrets kept out.
//!
//! Third-party crates are logged at warn and above only, whatever RUST_LOG says: at lower levels they print
//! headers and bodies, which carry JWTs and prompts. Every line passes the redactor besides. No thread of the daemon waits for whoever reads the log; `lines` has the one that does.

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

/// How long the end of the process waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long a panic does: it may be the end of the process, or of one run among many.
const LINES_OF_A_PANIC: Duration = Duration::from_millis(100);

/// Every line on its way to standard output.
static LINES: Lines = Lines::new();

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

/// How many log lines were lost since this was last asked.
pub(crate) fn take_dropped_lines() -> u64 {
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
#[expect(clippy::disallowed_methods, reason = "nobody may be reading standard error")]
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
    // Where both are one stream, what was logged before comes first.
    LINES.flush(LAST_LINES);
    let (done, ended) = mpsc::channel();
    let write = move || {
        // Where standard error is closed, the exit code says it alone.
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write.clone()).is_ok() {
        let _ = ended.recv_timeout(LAST_LINES);
    } else {
        write();
    }
}

/// Hands lines on, redacted where they were not when they were made. One write is one whole line.
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
