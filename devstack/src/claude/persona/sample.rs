//! Generates arguments for a tool from its input schema, in the persona's words.

use serde_json::{Map, Number, Value};

use crate::catalog::Voice;

use super::{
    Dice,
    ledger::{Ledger, is_read, module_of, words},
};

const PEOPLE: [&str; 6] =
    ["Miriam Albers", "Jonas Petry", "Aylin Demir", "Robert Hansen", "Clara Wolff", "Emre Kaya"];
const COMPANIES: [&str; 4] =
    ["Nordwerk GmbH", "Kanzlei Voss", "Atelier Brandt", "Stadtwerke Rheinau"];
const PLACES: [&str; 4] = ["Büro", "Café am Markt", "Raum 204", "zu Hause"];
/// Parts of property names that indicate a person's name.
const PERSONS: [&str; 8] =
    ["firstname", "lastname", "fullname", "client", "person", "author", "attendee", "creator"];
const TAGS: [&str; 6] = ["alltag", "wichtig", "arbeit", "familie", "idee", "spaeter"];
const DEPTH: usize = 6;

/// The first date of the form YYYY-MM-DD in a text, or a fixed working day if there is none.
pub(super) fn date_in(text: &str) -> String {
    let is_date = |word: &&str| {
        word.len() == 10
            && word
                .char_indices()
                .all(|(i, c)| if matches!(i, 4 | 7) { c == '-' } else { c.is_ascii_digit() })
    };
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '-');
    words.find(is_date).unwrap_or("2026-11-18").to_owned()
}

/// Generates the arguments of tool calls.
pub(super) struct Sampler<'a> {
    pub voice: &'a Voice,
    pub today: &'a str,
    pub ledger: &'a Ledger,
    pub dice: &'a mut Dice,
}

impl Sampler<'_> {
    /// Arguments for this tool; `None` if it needs a value that the persona cannot know.
    pub(super) fn input(&mut self, tool: &Value) -> Option<Value> {
        let schema = &tool["input_schema"];
        let call = Call { tool: tool["name"].as_str()?, root: schema, reads: is_read(tool) };
        self.object(schema, &call, DEPTH)
    }

    fn object(&mut self, schema: &Value, call: &Call<'_>, depth: usize) -> Option<Value> {
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut object = Map::new();
        for (name, property) in properties {
            let is_required = required.iter().any(|required| required == name);
            // A read without filters always returns something.
            if !is_required && (call.reads || !self.dice.chance(50)) {
                continue;
            }
            match self.value(name, property, call, depth) {
                Some(value) => {
                    object.insert(name.clone(), value);
                }
                None if is_required => return None,
                None => {}
            }
        }
        let has = |name: &Value| name.as_str().is_some_and(|name| object.contains_key(name));
        required.iter().all(has).then_some(Value::Object(object))
    }

    fn value(
        &mut self,
        name: &str,
        schema: &Value,
        call: &Call<'_>,
        depth: usize,
    ) -> Option<Value> {
        if depth == 0 {
            return None;
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = call.root.pointer(reference.strip_prefix('#')?)?;
            return self.value(name, target, call, depth - 1);
        }
        if let Some(constant) = schema.get("const") {
            return Some(constant.clone());
        }
        if let Some(allowed) = schema["enum"].as_array() {
            return allowed.get(self.dice.below(allowed.len())).cloned();
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            if let Some(inner) = schema[alternatives].as_array() {
                let inner = inner.iter().find(|inner| inner["type"] != "null")?;
                return self.value(name, inner, call, depth - 1);
            }
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null")?.as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("string") if is_id(name, schema) => {
                self.ledger.id_for(call.tool, name).map(Value::from)
            }
            Some("string") => Some(self.string(name, schema, call.tool).into()),
            Some("integer") => Some(Value::from(self.number(name, schema))),
            Some("number") => Number::from_f64(self.number(name, schema) as f64).map(Value::from),
            Some("boolean") => Some(self.dice.chance(50).into()),
            Some("array") => {
                let at_least = schema["minItems"].as_u64().unwrap_or(1).clamp(1, 5);
                let item = self.value(name, &schema["items"], call, depth - 1)?;
                // More than one item is only needed if the schema requires it; then copies of the item are
                // enough.
                let count = usize::try_from(at_least).unwrap_or(1);
                Some(Value::from(vec![item; count]))
            }
            Some("object") => self.object(schema, call, depth - 1),
            _ => Some(self.voice_title().into()),
        }
    }

    fn number(&mut self, name: &str, schema: &Value) -> i64 {
        let bound = |key: &str| schema[key].as_f64();
        let lowest = bound("minimum")
            .map(f64::ceil)
            .or_else(|| bound("exclusiveMinimum").map(|n| n.floor() + 1.0));
        let highest = bound("maximum")
            .map(f64::floor)
            .or_else(|| bound("exclusiveMaximum").map(|n| n.ceil() - 1.0));
        let name = name.to_lowercase();
        // The ranges that schemas allow are often far too wide; these are usual values.
        let usual: (f64, f64) = if has(&name, &["cents"]) {
            (5_000.0, 150_000.0)
        } else if has(&name, &["amount", "price", "total"]) {
            (80.0, 2_000.0)
        } else if has(&name, &["minutes", "duration", "progress"]) {
            (10.0, 90.0)
        } else if has(&name, &["tax"]) {
            (19.0, 19.0)
        } else if name == "year" {
            (2_018.0, 2_026.0)
        } else {
            (1.0, 8.0)
        };
        let within = |n: f64| n.min(highest.unwrap_or(n)).max(lowest.unwrap_or(n));
        let (low, high) = (within(usual.0) as i64, within(usual.1) as i64);
        let width = usize::try_from(high - low).unwrap_or_default();
        low + i64::try_from(self.dice.below(width + 1)).unwrap_or_default()
    }

    fn string(&mut self, name: &str, schema: &Value, tool: &str) -> String {
        let text = match schema["format"].as_str() {
            Some(format) => self.formatted(format, name, tool),
            None => match schema["pattern"].as_str().and_then(|p| self.patterned(p)) {
                Some(text) => text,
                None => self.named(name, tool),
            },
        };
        let limit = |key: &str| schema[key].as_u64().and_then(|n| usize::try_from(n).ok());
        let mut text: String = text.chars().take(limit("maxLength").unwrap_or(2_000)).collect();
        while text.chars().count() < limit("minLength").unwrap_or_default() {
            text.push('.');
        }
        text
    }

    fn formatted(&mut self, format: &str, name: &str, tool: &str) -> String {
        match format {
            "date" => self.today.to_owned(),
            "date-time" => self.moment(name),
            "time" => "09:30:00".to_owned(),
            "email" => self.email(),
            "uri" | "url" => self.link(),
            "uuid" => format!("00000000-0000-4000-8000-{:012x}", self.dice.below(1 << 40)),
            _ => self.named(name, tool),
        }
    }

    /// A text that matches the patterns used by tools of this kind.
    fn patterned(&mut self, pattern: &str) -> Option<String> {
        let has = |part: &str| pattern.contains(part);
        if has("\\d{4}-\\d{2}-\\d{2}T") {
            Some(self.moment(""))
        } else if has("\\d{4}-\\d{2}-\\d{2}") {
            Some(self.today.to_owned())
        } else if has("\\d{4}-\\d{2}") {
            self.today.get(..7).map(str::to_owned)
        } else if has("\\d{2}:\\d{2}") || has("[0-5]\\d") {
            Some("09:30".to_owned())
        } else if pattern.starts_with("^#") {
            Some("#3b82f6".to_owned())
        } else if has("[A-Z]{3}") {
            Some("EUR".to_owned())
        } else if has("[a-z") && !has(" ") {
            Some(TAGS[self.dice.below(TAGS.len())].to_owned())
        } else {
            None
        }
    }

    fn named(&mut self, name: &str, tool: &str) -> String {
        let lower = name.to_lowercase();
        if lower.ends_with("date") || lower == "due" || lower == "day" {
            self.today.to_owned()
        } else if name.ends_with("At") || matches!(lower.as_str(), "start" | "end" | "from" | "to")
        {
            self.moment(name)
        } else if lower.ends_with("time") {
            "09:30".to_owned()
        } else if has(&lower, &["email"]) {
            self.email()
        } else if has(&lower, &["phone"]) {
            format!("+49 7531 {:06}", self.dice.below(1_000_000))
        } else if has(&lower, &["url", "link"]) {
            self.link()
        } else if has(&lower, &["tag", "label", "category", "keyword"]) {
            TAGS[self.dice.below(TAGS.len())].to_owned()
        } else if has(&lower, &["query", "search", "term"]) || lower == "q" {
            let title = self.voice_title();
            words(&title).next().unwrap_or("heute").to_owned()
        } else if has(&lower, &["color", "colour"]) {
            "#3b82f6".to_owned()
        } else if has(&lower, &["icon", "emoji"]) {
            "🌱".to_owned()
        } else if has(&lower, &["currency"]) {
            "EUR".to_owned()
        } else if has(&lower, &["language", "locale"]) {
            "de".to_owned()
        } else if has(&lower, &["company"]) {
            COMPANIES[self.dice.below(COMPANIES.len())].to_owned()
        } else if has(&lower, &["location", "place"]) {
            PLACES[self.dice.below(PLACES.len())].to_owned()
        } else if has(&lower, &PERSONS) || (lower == "name" && module_of(tool) == "contacts") {
            PEOPLE[self.dice.below(PEOPLE.len())].to_owned()
        } else if has(&lower, &["text", "content", "body", "descr", "note", "entry", "summary"]) {
            self.dice.pick(&self.voice.texts).to_owned()
        } else {
            self.voice_title()
        }
    }

    /// A time today; the end time is later than the start time.
    fn moment(&self, name: &str) -> String {
        let hour = if has(&name.to_lowercase(), &["end", "to"]) { "11" } else { "09" };
        format!("{}T{hour}:30:00.000Z", self.today)
    }

    fn email(&mut self) -> String {
        let person = PEOPLE[self.dice.below(PEOPLE.len())].to_lowercase();
        format!("{}@example.org", person.replace(' ', "."))
    }

    fn link(&mut self) -> String {
        format!("https://example.org/{}", TAGS[self.dice.below(TAGS.len())])
    }

    fn voice_title(&mut self) -> String {
        self.dice.pick(&self.voice.titles).to_owned()
    }
}

/// The call for which arguments are generated.
struct Call<'a> {
    tool: &'a str,
    root: &'a Value,
    reads: bool,
}

/// Whether the property needs the id of an existing object.
fn is_id(name: &str, schema: &Value) -> bool {
    schema["format"] == "uuid"
        || matches!(name, "id" | "ids")
        || ["Id", "Ids", "_id", "_ids"].iter().any(|end| name.ends_with(end))
}

fn has(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.contains(part))
}
