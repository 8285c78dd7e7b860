//! The format of `LOG_FORMAT=json`: one object in each line, `{ts,level,service,msg,data}`.
//!
//! `data` has the fields of the event and of the spans around it. If a span has a field of the same name, the
//! event's field wins. Texts are redacted before they are encoded, so that redaction cannot break the JSON of
//! a line.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Deserializer, Map, Value, json};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::{LookupSpan, Scope},
};

use crate::domain::{Redactor, redact_emails};

/// Formats events as JSON lines, and redacts their texts.
pub(super) struct Json(pub Redactor);

impl Json {
    fn map(&self, fields: impl RecordFields) -> Map<String, Value> {
        let mut all = Fields { redactor: &self.0, map: Map::new() };
        fields.record(&mut all);
        all.map
    }
}

impl<'w> FormatFields<'w> for Json {
    /// Writes the fields as one object. Fields that a span gets later become a second object behind the
    /// first.
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        write!(writer, "{}", Value::Object(self.map(fields)))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, Json> for Json {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Json>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = self.map(event);
        let message = match own.shift_remove("message") {
            Some(Value::String(message)) => message,
            other => other.map(|value| value.to_string()).unwrap_or_default(),
        };
        let mut data = Map::new();
        data.insert("target".into(), event.metadata().target().into());
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<Json>>() {
                let objects = Deserializer::from_str(fields).into_iter::<Map<String, Value>>();
                data.extend(objects.flatten().flatten());
            }
        }
        data.extend(own);
        writer.write_str(&line(event.metadata().level(), &message, data.into()))
    }
}

/// One log line with its line feed.
#[expect(clippy::disallowed_methods, reason = "a log line has the time of the machine")]
pub(super) fn line(level: &Level, message: &str, data: Value) -> String {
    let line = json!({
        "ts": format!("{:.3}", Timestamp::now()),
        "level": level.as_str().to_ascii_lowercase(),
        "service": env!("CARGO_PKG_NAME"),
        "msg": message,
        "data": data,
    });
    format!("{line}\n")
}

/// Collects fields as JSON values, with redacted texts.
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
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::fmt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_a_text_and_empty_where_there_is_none() {
        let written = Written::default();
        let to = written.clone();
        let json = || Json(Redactor::default());
        let lines = fmt().fmt_fields(json()).event_format(json()).with_writer(move || to.clone());
        tracing::subscriber::with_default(lines.finish(), || {
            tracing::info!(n = 1);
            tracing::info!(message = 7);
            tracing::info!("{}", "so");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let messages = written.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["msg"].as_str().unwrap().to_owned()
        });
        assert_eq!(messages.collect::<Vec<_>>(), ["", "7", "so"]);
    }

    #[test]
    fn a_line_is_one_object_with_the_five_keys_in_their_order() {
        let text = line(&Level::WARN, "two\nlines", json!({"run.id": "r\n1"}));
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
