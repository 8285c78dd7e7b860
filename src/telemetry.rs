//! Logs: set up once, in text or JSON, with secrets kept out.
//!
//! Third-party crates are logged at warn and above only, whatever RUST_LOG says, and rmcp not at all:
//! at lower levels they print headers and bodies, which carry JWTs and prompts. Every line passes the
//! redactor besides.

mod json;

use std::io::{self, Write};

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

/// Starts logging to standard output for the rest of the process.
///
/// # Errors
/// When logging was started before, or the filter, checked by [`crate::config`], cannot be read.
pub fn init(config: &LogConfig, redactor: Redactor) -> Result<(), TryInitError> {
    let filter = EnvFilter::new(&config.filter);
    let lines = match config.format {
        LogFormat::Text => {
            fmt::layer().with_ansi(false).with_writer(RedactingStdout(redactor)).boxed()
        }
        LogFormat::Json => JsonLines::new(redactor).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(may_be_logged)).with_filter(filter))
        .try_init()?;
    log_panics();
    Ok(())
}

/// Whether a line of this origin and level can be trusted not to carry what must stay inside.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if target.starts_with("rmcp") {
        return false;
    }
    target.starts_with(env!("CARGO_CRATE_NAME")) || *metadata.level() <= Level::WARN
}

/// A panic becomes a log line like any other error, instead of text on standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.location = %location, "panic: {message}");
    }));
}

/// Tells on standard error why the process cannot run, where [`init`] may not have taken place: a line
/// of its own for every problem in JSON, a list under `what` in text.
pub fn complain(format: LogFormat, what: &str, problems: &[Problem]) {
    let mut stderr = io::stderr().lock();
    // Where standard error is closed, the exit code says it alone.
    let _ = match format {
        LogFormat::Text => {
            let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            writeln!(stderr, "{}: {what}{list}", env!("CARGO_PKG_NAME"))
        }
        LogFormat::Json if problems.is_empty() => {
            json::write(&mut stderr, &Level::ERROR, what, &Map::new())
        }
        LogFormat::Json => problems.iter().try_for_each(|problem| {
            let data = Map::from_iter([("variable".to_owned(), Value::from(problem.variable))]);
            json::write(&mut stderr, &Level::ERROR, &format!("{what} {problem}"), &data)
        }),
    };
}

/// Standard output behind the redactor. One write is one whole line.
#[derive(Clone)]
struct RedactingStdout(Redactor);

impl<'a> MakeWriter<'a> for RedactingStdout {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &RedactingStdout {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stdout().write_all(redact_emails(&self.0.redact(&text)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
