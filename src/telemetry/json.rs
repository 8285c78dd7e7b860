//! `LOG_FORMAT=json`: one object a line, `{ts,level,service,msg,data}`.
//!
//! `data` holds the fields of the event and of the spans around it, the event's own winning. Texts are
//! redacted before they are encoded, so that no secret, whatever it looks like, can break a line.

use std::{
    fmt,
    io::{self, Write},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::LINES;
use crate::domain::{Redactor, redact_emails};

/// Makes lines of events.
pub(super) struct JsonLines(Redactor);

impl JsonLines {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self(redactor)
    }

    fn fields(&self) -> Fields<'_> {
        Fields { redactor: &self.0, map: Map::new() }
    }

    /// Adds fields to what is known of a span.
    fn add_to_span<'a, S: LookupSpan<'a>>(&self, span: &SpanRef<'a, S>, more: Fields<'_>) {
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<SpanFields>() {
            Some(SpanFields(known)) => known.extend(more.map),
            None => extensions.insert(SpanFields(more.map)),
        }
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = self.fields();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            self.add_to_span(&span, fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let mut fields = self.fields();
        record.record(&mut fields);
        if let Some(span) = context.span(id) {
            self.add_to_span(&span, fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = self.fields();
        event.record(&mut own);
        let message = match own.map.shift_remove("message") {
            Some(Value::String(message)) => message,
            other => other.map(|value| value.to_string()).unwrap_or_default(),
        };
        let mut data = Map::new();
        data.insert("target".into(), event.metadata().target().into());
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        for span in scope {
            if let Some(SpanFields(known)) = span.extensions().get() {
                data.extend(known.clone());
            }
        }
        data.extend(own.map);
        let mut line = Vec::new();
        if write(&mut line, event.metadata().level(), &message, &data).is_ok() {
            LINES.push(&line);
        }
    }
}

/// Writes one line.
#[expect(clippy::disallowed_methods, reason = "a log line tells the time of the machine")]
pub(super) fn write(
    to: &mut impl Write,
    level: &Level,
    msg: &str,
    data: &Map<String, Value>,
) -> io::Result<()> {
    let line = Line {
        ts: format!("{:.3}", Timestamp::now()),
        level: match *level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        },
        service: env!("CARGO_PKG_NAME"),
        msg,
        data,
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    to.write_all(&text)
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    level: &'static str,
    service: &'static str,
    msg: &'a str,
    data: &'a Map<String, Value>,
}

/// Fields as JSON, redacted.
struct Fields<'a> {
    redactor: &'a Redactor,
    map: Map<String, Value>,
}

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.map.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.redactor.redact(value);
        self.insert(field, redact_emails(&text).into_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_with_the_five_keys_in_their_order() {
        let mut text = Vec::new();
        let data = Map::from_iter([("run.id".to_owned(), Value::from("r\n1"))]);
        write(&mut text, &Level::WARN, "two\nlines", &data).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let (time, rest) = text.strip_prefix("{\"ts\":\"").unwrap().split_once('"').unwrap();
        assert_eq!(time.len(), "2026-03-09T11:00:00.000Z".len(), "{time}");
        assert!(time.ends_with('Z') && time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(
            rest.trim_end(),
            r#","level":"warn","service":"mana-persona-runner","msg":"two\nlines","data":{"run.id":"r\n1"}}"#
        );
    }
}
