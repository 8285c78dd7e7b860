//! JSON of the personas endpoints: the list of due personas, and the batches of actions and ratings.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::domain::{
    Action, Cadence, InputHash, JsonText, ModuleMix, ModuleName, ModuleRating, Persona, Redactor,
    RunId, UserId, clip, json_text, one_line, redact_emails,
};

/// The largest number of actions that the server accepts in one batch (docs/contracts/mana-auth.md).
pub const MAX_ACTIONS: usize = 500;
/// The largest number of ratings that the server accepts in one batch (docs/contracts/mana-auth.md).
pub const MAX_RATINGS: usize = 100;
/// Longest system prompt, in bytes. Every model request pays for the whole system prompt.
const MAX_SYSTEM_PROMPT: usize = 64 << 10;
/// The largest number of modules in a persona's moduleMix.
const MAX_MODULES: usize = 100;
/// Longest archetype, in UTF-16 units. A longer one is cut.
const MAX_ARCHETYPE: usize = 100;
/// Longest module name in a row, in UTF-16 units. The names come from a server, which may choose any name.
const MAX_MODULE: usize = 128;

/// Largest weight of the list of due personas ([`JsonText::read`]): 10,000 with eight modules each fit.
const MAX_LIST: usize = 500_000;
/// Longest row, in bytes. The longest system prompt fits, however its characters are escaped.
const MAX_ROW: usize = 512 << 10;
/// Longest part of a row that an error quotes, in UTF-16 units.
const MAX_QUOTED: usize = 500;

/// One row of /due: a persona, or the reason why the row cannot be used.
pub(crate) type DueRow = Result<Persona, RowError>;

/// A row of /due that does not describe a persona.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row in /due is malformed: {problem}")]
pub struct RowError {
    /// The persona that the row is about, as far as the row names it: by e-mail, else by user id, else by
    /// index.
    pub persona: String,
    /// Why the row cannot be used.
    pub problem: String,
    /// Whether `problem` can quote the row. If it can, only /diag shows it.
    quotes: bool,
    /// Index of the row in the list, from 1.
    pub index: usize,
}

impl RowError {
    /// The problem in a form that may be logged: it quotes nothing of the row.
    pub(crate) fn in_log(&self) -> &str {
        if self.quotes { "it cannot be read" } else { &self.problem }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Due<'a> {
    #[serde(borrow)]
    personas: Vec<&'a RawValue>,
    #[serde(default)]
    server_time: Value,
}

/// The members of a row that name its persona. All other members are ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Owner<'a> {
    #[serde(borrow)]
    email: Option<&'a RawValue>,
    user_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    user_id: UserId,
    email: String,
    system_prompt: String,
    module_mix: HashMap<String, f64>,
    tick_cadence: Cadence,
    #[serde(borrow)]
    archetype: Option<&'a RawValue>,
}

/// Whether a refusal is about the persona, and not about a wrong path or from a proxy. mana-auth sends the
/// text in `message`, the newer service in `error`.
pub(super) fn says_no_persona(body: &[u8]) -> bool {
    let refusal: Value = json_text::parse(body).unwrap_or_default();
    ["error", "message"].iter().any(|key| refusal[key] == "Persona not found")
}

/// Reads the answer of /due: its rows, and the server's time if the answer has one. `None` if the body is not
/// such a list. `redactor` removes secrets from the errors of rows.
pub(super) fn parse_due(
    body: &[u8],
    redactor: &Redactor,
) -> Option<(Vec<DueRow>, Option<Timestamp>)> {
    let json = JsonText::of(body);
    let due: Due<'_> = json.read(MAX_LIST).ok()?;
    let rows = (1..).zip(due.personas).map(|(index, row)| parse_row(row.get(), index, redactor));
    let server_time = due.server_time.as_str().and_then(|time| time.parse().ok());
    Some((rows.collect(), server_time))
}

fn parse_row(row: &str, index: usize, redactor: &Redactor) -> DueRow {
    let refused = |problem: String, quotes| {
        let Owner { email, user_id } = serde_json::from_str(row).unwrap_or_default();
        let text = |member: &RawValue| serde_json::from_str::<String>(member.get()).ok();
        let mut names = [email, user_id].into_iter().flatten().filter_map(text);
        let named = names.find(|name| !name.is_empty());
        let persona = named.unwrap_or_else(|| format!("row {index}"));
        let shown = |text: String| clip(&redactor.redact(&text), MAX_QUOTED);
        RowError { persona: shown(persona), problem: shown(problem), quotes, index }
    };
    let bytes = row.len();
    if bytes > MAX_ROW {
        let problem = format!(
            "its {bytes} bytes are too many: a systemPrompt may have {MAX_SYSTEM_PROMPT}, and {MAX_MODULES} \
             modules are taken"
        );
        return Err(refused(problem, false));
    }
    let row: Row<'_> =
        serde_json::from_str(row).map_err(|error| refused(error.to_string(), true))?;
    for (what, text) in [("email", &row.email), ("systemPrompt", &row.system_prompt)] {
        if text.trim().is_empty() {
            return Err(refused(format!("{what} is empty"), false));
        }
    }
    for (what, size, most) in [
        ("bytes in systemPrompt", row.system_prompt.len(), MAX_SYSTEM_PROMPT),
        ("modules in moduleMix", row.module_mix.len(), MAX_MODULES),
    ] {
        if size > most {
            let problem = format!("{size} {what} are too many: at most {most} are taken");
            return Err(refused(problem, false));
        }
    }
    let mix = row.module_mix.into_iter();
    Ok(Persona {
        user_id: row.user_id,
        email: row.email,
        system_prompt: row.system_prompt,
        module_mix: ModuleMix::new(mix.map(|(module, weight)| (ModuleName::new(module), weight))),
        cadence: row.tick_cadence,
        // Only facts name it, so a row without it, or with anything but a text, is a persona all the same.
        archetype: row.archetype.and_then(|kind| {
            let kind: String = serde_json::from_str(kind.get()).ok()?;
            Some(clip(&one_line(&redact_emails(&redactor.redact(&kind))), MAX_ARCHETYPE))
        }),
    })
}

/// The table that the rows of a batch are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows of `persona_actions`, one for each tool call.
    Actions,
    /// Rows of `persona_feedback`, one for each rated module.
    Feedback,
}

impl Kind {
    /// Every kind, for code that handles both tables.
    pub const ALL: [Self; 2] = [Self::Actions, Self::Feedback];

    /// Metric label, last segment of the URL path, and name of the member of the body that has the rows.
    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// [`Self::as_str`], and the name of the operation in metrics and errors.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Actions => ("actions", "post_actions"),
            Self::Feedback => ("feedback", "post_feedback"),
        }
    }
}

/// One POST of rows, with the exact bytes of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The table that the rows are for.
    pub kind: Kind,
    /// Number of rows in the body.
    pub rows: usize,
    /// The body as it is sent. All attempts share these bytes.
    pub body: Bytes,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionRow<'a> {
    tick_id: String,
    tool_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hash: Option<&'a str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<i32>,
}

#[derive(Serialize)]
struct FeedbackRow<'a> {
    #[serde(rename = "tickId")]
    tick_id: String,
    module: String,
    rating: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
}

impl Batch {
    /// A batch of these actions; there must be at most [`MAX_ACTIONS`].
    pub(crate) fn of_actions(run: RunId, actions: &[Action]) -> Self {
        let rows = actions.iter().map(|action| ActionRow {
            tick_id: run.to_string(),
            tool_name: &action.tool_name,
            input_hash: action.input_hash.as_ref().map(InputHash::as_str),
            result: if action.error_message.is_none() { "ok" } else { "error" },
            error_message: action.error_message.as_deref(),
            latency_ms: action.latency_ms,
        });
        Self::of(Kind::Actions, rows.collect())
    }

    /// A batch of these ratings; there must be at most [`MAX_RATINGS`].
    pub(crate) fn of_ratings(run: RunId, ratings: &[ModuleRating]) -> Self {
        let rows = ratings.iter().map(|rating| FeedbackRow {
            tick_id: run.to_string(),
            module: clip(rating.module.as_str(), MAX_MODULE),
            rating: rating.rating.get(),
            notes: rating.notes.as_deref(),
        });
        Self::of(Kind::Feedback, rows.collect())
    }

    fn of(kind: Kind, rows: Vec<impl Serialize>) -> Self {
        // Encoding cannot fail: the rows consist of strings and integers.
        let body = serde_json::to_vec(&HashMap::from([(kind.as_str(), &rows)])).unwrap_or_default();
        Self { kind, rows: rows.len(), body: body.into() }
    }
}

#[derive(Deserialize)]
struct Written {
    ok: bool,
    written: Option<usize>,
}

/// The number of rows that the server confirmed. An answer without a number confirms all `sent` rows. `None`
/// if the answer confirms nothing.
pub(super) fn parse_written(body: &[u8], sent: usize) -> Option<usize> {
    let answer: Written = json_text::parse(body).ok()?;
    answer.ok.then(|| answer.written.unwrap_or(sent))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::Rating;

    fn row() -> Value {
        json!({
            "userId": "u1", "email": "persona.anna@mana.test", "archetype": "adhd-student",
            "systemPrompt": "Du bist Anna.", "moduleMix": {"notes": 0.2, "todo": 0.8},
            "tickCadence": "daily", "lastActiveAt": null,
        })
    }

    fn due(body: &[u8]) -> Option<(Vec<DueRow>, Option<Timestamp>)> {
        parse_due(body, &Redactor::default())
    }

    fn parse(rows: Vec<Value>) -> Vec<DueRow> {
        due(json!({"personas": rows, "serverTime": "…"}).to_string().as_bytes()).unwrap().0
    }

    #[test]
    fn only_persona_not_found_is_about_the_persona() {
        for body in [
            r#"{"error":"Persona not found"}"#,
            r#"{"statusCode":404,"message":"Persona not found"}"#,
            r#"{"error":"Not Found","message":"Persona not found","statusCode":404}"#,
        ] {
            assert!(says_no_persona(body.as_bytes()), "{body}");
        }
        for body in [
            "",
            "\n",
            "{}",
            "null",
            "\"Persona not found\"",
            "Persona not found",
            "<html>Persona not found</html>",
            r#"{"error":"Not found","status":404}"#,
            r#"{"error":{"message":"Persona not found"}}"#,
            r#"{"error":"Persona not found"#,
            r#"{"detail":"Persona not found"}"#,
        ] {
            assert!(!says_no_persona(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn the_servers_time_is_read_with_the_list_if_it_is_valid() {
        let time = |text: &str| {
            let body = json!({"personas": [], "serverTime": text}).to_string();
            due(body.as_bytes()).unwrap().1
        };
        assert_eq!(time("2026-11-21T09:00:00.123Z"), "2026-11-21T09:00:00.123Z".parse().ok());
        assert_eq!(time("soon"), None);
        assert_eq!(due(br#"{"personas":[]}"#).unwrap().1, None);
    }

    #[test]
    fn a_row_becomes_a_persona() {
        let persona = parse(vec![row()]).remove(0).unwrap();
        assert_eq!(persona.user_id.as_str(), "u1");
        assert_eq!(persona.system_prompt, "Du bist Anna.");
        assert_eq!(persona.cadence, Cadence::Daily);
        let modules: Vec<_> = persona.module_mix.modules().map(ModuleName::as_str).collect();
        assert_eq!(modules, ["todo", "notes"]);
        assert_eq!(persona.archetype.as_deref(), Some("adhd-student"));
    }

    #[test]
    fn an_archetype_is_one_short_line_without_secrets_and_may_be_missing() {
        let archetype = |value: Value| {
            let mut row = row();
            row["archetype"] = value;
            let body = json!({"personas": [row]}).to_string();
            let redactor = Redactor::new(["s3cret-key"]);
            parse_due(body.as_bytes(), &redactor).unwrap().0.remove(0).unwrap().archetype
        };
        for absent in [json!(null), json!(7), json!({"a": 1})] {
            assert_eq!(archetype(absent), None);
        }
        let odd = "a\nb s3cret-key anna@mana.test";
        assert_eq!(archetype(odd.into()).unwrap(), "a b [redacted] [redacted]");
        assert_eq!(archetype("x".repeat(300_000).into()).unwrap().len(), MAX_ARCHETYPE);
    }

    #[test]
    fn a_malformed_row_names_its_owner_and_leaves_the_others_alone() {
        let with = |key: &str, value: Value| {
            let mut row = row();
            row[key] = value;
            row
        };
        let mut nameless = with("email", json!(7));
        nameless["userId"] = json!(["x"]);
        let rows = parse(vec![
            with("systemPrompt", json!(" \n")),
            with("tickCadence", json!("sometimes")),
            with("moduleMix", json!("todo")),
            with("userId", json!("../x y")),
            with("email", json!(null)),
            nameless,
            json!(null),
            row(),
        ]);
        let owners: Vec<_> =
            rows.iter().filter_map(|row| Some(row.as_ref().err()?.persona.as_str())).collect();
        let anna = "persona.anna@mana.test";
        assert_eq!(owners, [anna, anna, anna, anna, "u1", "row 6", "row 7"]);
        assert!(rows[7].is_ok());
    }

    #[test]
    fn a_persona_above_a_limit_is_refused_with_the_limit_and_one_at_the_limit_is_accepted() {
        let of = |prompt: usize, modules: usize| {
            let mut row = row();
            row["systemPrompt"] = json!("x".repeat(prompt));
            row["moduleMix"] = (0..modules).map(|n| (format!("m{n}"), json!(0.1))).collect();
            parse(vec![row]).remove(0)
        };
        assert!(of(65_536, 100).is_ok());
        for (prompt, modules, bound) in
            [(65_537, 1, "65536"), (2_200_000, 1, "65536"), (1, 101, "100"), (1, 100_000, "100")]
        {
            let error = of(prompt, modules).unwrap_err();
            assert_eq!(error.persona, "persona.anna@mana.test");
            assert!(error.problem.contains(bound) && error.problem.len() < 100, "{error}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_or_a_number_out_of_range_does_not_affect_the_rest() {
        let row = row().to_string().replace("Du bist Anna.", "Du bist \\ud83d.");
        let huge = row.replace("0.2", "1e400");
        let body = format!(r#"{{"personas":[{row},{huge}],"serverTime":"\udc00"}}"#);
        let mut rows = due(body.as_bytes()).unwrap().0;
        assert_eq!(rows.remove(0).unwrap().system_prompt, "Du bist \u{fffd}.");
        assert_eq!(rows.remove(0).unwrap_err().persona, "persona.anna@mana.test");
        assert_eq!(parse_written(b"{\"ok\":true,\"written\":3,\"x\":\"\\ud83d\xff\"}", 3), Some(3));
    }

    #[test]
    fn an_answer_without_a_list_is_no_list() {
        for body in ["", "[]", "{}", "{\"personas\":null}", "{\"personas\":{}}", "<html>"] {
            assert_eq!(due(body.as_bytes()), None, "{body:?}");
        }
    }

    #[test]
    fn only_a_confirmation_confirms() {
        assert_eq!(parse_written(br#"{"ok":true,"written":3}"#, 3), Some(3));
        for unsaid in [r#"{"ok":true}"#, r#"{"ok":true,"written":null}"#] {
            assert_eq!(parse_written(unsaid.as_bytes(), 3), Some(3));
        }
        for odd in [r#""3""#, "-1", "2.5", "{}", "[3]", "true"] {
            let body = format!(r#"{{"ok":true,"written":{odd}}}"#);
            assert_eq!(parse_written(body.as_bytes(), 3), None, "{odd}");
        }
        assert_eq!(parse_written(br#"{"ok":false,"written":0}"#, 3), None);
        assert_eq!(parse_written(b"<html>", 3), None);
    }

    proptest! {
        /// A batch keeps the server's rules for every tool name and every error message.
        #[test]
        fn every_batch_keeps_the_rules_of_the_server(
            calls in prop::collection::vec((".*", prop::option::of(".*"), any::<u64>()), 1..50),
            notes in ".*",
            rating in any::<f64>(),
        ) {
            let actions: Vec<_> = calls
                .iter()
                .map(|(tool, error, ms)| {
                    Action::new(tool, None, error.as_deref(), Duration::from_millis(*ms))
                })
                .collect();
            let run = RunId::new();
            let tick_id = run.to_string();
            let body: Value = serde_json::from_slice(&Batch::of_actions(run, &actions).body).unwrap();
            let rows = body["actions"].as_array().unwrap();
            prop_assert_eq!(rows.len(), calls.len());
            for row in rows {
                prop_assert_eq!(row["tickId"].as_str(), Some(tick_id.as_str()));
                prop_assert!(row["latencyMs"].as_u64().unwrap() <= 2_147_483_647);
                prop_assert!(["ok", "error"].contains(&row["result"].as_str().unwrap()));
                prop_assert!(!row.to_string().contains("\\u0000"));
            }
            let rating = Rating::nearest(rating).unwrap_or(Rating::nearest(3.0).unwrap());
            let ratings = [ModuleRating::new(ModuleName::new("todo"), rating, Some(&notes), vec![])];
            let body: Value = serde_json::from_slice(&Batch::of_ratings(run, &ratings).body).unwrap();
            let row = &body["feedback"][0];
            prop_assert!((1..=5).contains(&row["rating"].as_u64().unwrap()));
            prop_assert!(!row.to_string().contains("\\u0000"));
        }
    }
}
