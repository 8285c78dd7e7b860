//! The lines of an export: one JSON object a line, kinds in the order of [`Line`], lines of a kind by time, then
//! id. A field that is absent is null or missing; unknown fields are ignored; an unknown kind or word is an error.

mod fields;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{Cause, Next, Outcome, UnratedWhy, WhyNotRun, optional_word, word};

/// The schema that [`Meta::schema`] names.
pub const SCHEMA: &str = "facts/v1";

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// What the export is.
    Meta(Meta),
    /// A list of tools that runs were offered.
    Catalog(Catalog),
    /// A build of the product, as the runner met it.
    Deployment(Deployment),
    /// A persona.
    Persona(Persona),
    /// A run that has ended.
    Run(Run),
    /// A tool call.
    Call(Call),
    /// A module that a run used.
    Module(Module),
    /// A group of failures of the same kind.
    Issue(Issue),
    /// A run that had an issue.
    Hit(Hit),
    /// A tool that a run used.
    Tool(Tool),
    /// A due persona that did not run.
    Absence(Absence),
    /// An hour in which the runner was up.
    Tick(Tick),
    /// An issue that a person has muted.
    Mute(Mute),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// [`SCHEMA`].
    pub schema: String,
    /// The IANA name of the time zone whose dates are the days of the facts.
    pub tz: String,
}

/// A list of tools that runs were offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The id of the list.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The offered tools, by name.
    pub tools: Vec<CatalogTool>,
    /// Names of tools that the runner hid.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub hidden: Vec<String>,
}

/// A tool of a [`Catalog`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogTool {
    /// The name in `tools/list`.
    pub name: String,
    /// A hash of the tool's description and input schema.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub hash: String,
}

/// A build of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The id of the deployment.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The version of the build.
    pub version: String,
    /// Where the version comes from: `release`, `url`, `env` or `server-info`.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub source: String,
    /// When the runner first met the build.
    pub at: Timestamp,
}

/// A persona.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Persona {
    /// The id of the persona.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The local part of the persona's e-mail.
    pub label: String,
    /// What kind of user the persona is.
    #[serde(default)]
    pub archetype: Option<String>,
    /// How often the persona is due: `hourly`, `daily` or `weekdays`.
    #[serde(default)]
    pub cadence: Option<String>,
    /// The modules that the persona likes, each with its weight.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub mix: serde_json::Map<String, serde_json::Value>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The id of the run.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The id of the persona.
    #[serde(deserialize_with = "fields::id")]
    pub persona: String,
    /// When the run began.
    pub at: Timestamp,
    /// When the run ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// The hour or day that the run belongs to.
    #[serde(default)]
    pub slot: Option<String>,
    /// The time that mana-auth gave with the list of due personas.
    #[serde(default)]
    pub server_time: Option<Timestamp>,
    /// The id of the current deployment when the run began.
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub deployment: Option<String>,
    /// The id of the current deployment when the run ended.
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub deployment_end: Option<String>,
    /// The model that played the persona.
    #[serde(default)]
    pub model: Option<String>,
    /// The effort that the model was asked for.
    #[serde(default)]
    pub effort: Option<String>,
    /// The mode and a hash of the policy's settings.
    #[serde(default)]
    pub policy: Option<String>,
    /// The version of this program.
    #[serde(default)]
    pub runner: Option<String>,
    /// A hash of the persona's system prompt.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The id of the [`Catalog`].
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub catalog: Option<String>,
    /// What the run came to.
    #[serde(with = "word")]
    pub outcome: Outcome,
    /// What the run cost, in US dollars.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub cost_usd: f64,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The id of the run.
    #[serde(deserialize_with = "fields::id")]
    pub run: String,
    /// The number of the call in the run, from 1.
    #[serde(deserialize_with = "fields::whole")]
    pub number: u32,
    /// When the call began.
    pub at: Timestamp,
    /// The name of the tool, or the name that the model invented.
    pub tool: String,
    /// The module of the tool.
    pub module: String,
    /// Whether the call succeeded.
    pub ok: bool,
    /// Why the call failed.
    #[serde(default, with = "optional_word")]
    pub cause: Option<Cause>,
    /// The id of the [`Issue`] that the failure belongs to.
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub issue: Option<String>,
    /// The template of the error text.
    #[serde(default)]
    pub template: Option<String>,
    /// The hash of the call's input.
    #[serde(default)]
    pub input_hash: Option<String>,
    /// How long the last try took, in milliseconds; `None` if it is not known.
    #[serde(default, deserialize_with = "fields::milliseconds")]
    pub latency_ms: Option<u64>,
    /// How often the call was tried, from 1.
    #[serde(default = "one", deserialize_with = "fields::from_one")]
    pub tries: u32,
    /// The size of the result's text before it was cut, in characters.
    #[serde(default, deserialize_with = "fields::size")]
    pub chars: u64,
    /// Whether the result was cut before the model got it.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub cut: bool,
    /// Whether the tool offers a parameter that limits the size of its result.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub limit_offered: bool,
    /// What the persona did after the failure.
    #[serde(default, with = "optional_word")]
    pub next: Option<Next>,
    /// The persona's own words after the failure.
    #[serde(default)]
    pub quote: Option<String>,
}

/// A module that a run used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// The id of the run.
    #[serde(deserialize_with = "fields::id")]
    pub run: String,
    /// The name of the module.
    pub module: String,
    /// The persona's rating, 1 to 5.
    #[serde(default, deserialize_with = "fields::optional_whole")]
    pub rating: Option<u8>,
    /// Whether the rating names at least one call of the module in the run.
    #[serde(default, deserialize_with = "fields::flag")]
    pub grounded: bool,
    /// Why there is no rating.
    #[serde(default, with = "optional_word")]
    pub unrated_why: Option<UnratedWhy>,
    /// The persona's reason for the rating.
    #[serde(default)]
    pub notes: Option<String>,
    /// Numbers of the calls that the rating rests on.
    #[serde(default, deserialize_with = "fields::numbers")]
    pub calls: Vec<u32>,
    /// How many calls only read.
    #[serde(default, deserialize_with = "fields::count")]
    pub reads: u32,
    /// How many calls could change something.
    #[serde(default, deserialize_with = "fields::count")]
    pub writes: u32,
    /// How many calls failed because of the product or the contract.
    #[serde(default, deserialize_with = "fields::count")]
    pub failed: u32,
    /// Whether a tool of the module failed and did not succeed later in the run.
    #[serde(default, deserialize_with = "fields::flag")]
    pub dead_end: bool,
}

/// A group of failures with the same cause, tool and template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The id of the issue: `F-` and 4 or 6 base32 characters.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The tool; `None` if the cause does not depend on the tool.
    #[serde(default)]
    pub tool: Option<String>,
    /// Why the calls failed.
    #[serde(with = "word")]
    pub cause: Cause,
    /// The template of the error texts.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub template: String,
    /// The first failure; `None` if it follows from the hits and their calls.
    #[serde(default)]
    pub first: Option<Sighting>,
}

/// A failure of an issue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// When the call began.
    pub at: Timestamp,
    /// The id of the run.
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub run: Option<String>,
    /// The number of the call in the run.
    #[serde(default, deserialize_with = "fields::optional_whole")]
    pub call: Option<u32>,
    /// The id of the current deployment when the run began.
    #[serde(default, deserialize_with = "fields::optional_id")]
    pub deployment: Option<String>,
}

/// A run that had an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The id of the issue.
    #[serde(deserialize_with = "fields::id")]
    pub issue: String,
    /// The id of the run.
    #[serde(deserialize_with = "fields::id")]
    pub run: String,
    /// How many calls failed with the issue.
    #[serde(default = "one", deserialize_with = "fields::from_one")]
    pub calls: u32,
    /// Whether each tool that failed with the issue succeeded later in the run.
    #[serde(default, deserialize_with = "fields::flag")]
    pub recovered: bool,
    /// The tools that failed with the issue; empty if the line does not say.
    #[serde(
        default,
        deserialize_with = "fields::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tools: Vec<String>,
}

/// A tool that a run used. Calls that failed because of infrastructure, model or runner do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// The id of the run.
    #[serde(deserialize_with = "fields::id")]
    pub run: String,
    /// The name of the tool.
    pub tool: String,
    /// How many calls succeeded, or failed because of the product or the contract.
    #[serde(default, deserialize_with = "fields::count")]
    pub calls: u32,
    /// How many calls failed because of the product or the contract.
    #[serde(default, deserialize_with = "fields::count")]
    pub failed: u32,
    /// Whether a call failed and no later call succeeded.
    #[serde(default, deserialize_with = "fields::flag")]
    pub dead_end: bool,
    /// Whether a call failed and a later call succeeded.
    #[serde(default, deserialize_with = "fields::flag")]
    pub recovered: bool,
}

/// A due persona that did not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absence {
    /// The hour or day for which the persona was due.
    pub slot: String,
    /// The id of the persona.
    #[serde(deserialize_with = "fields::id")]
    pub persona: String,
    /// Why the persona did not run.
    #[serde(with = "word")]
    pub why: WhyNotRun,
}

/// A time at which the runner was up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tick {
    /// The first tick of an hour.
    pub at: Timestamp,
}

/// An issue that a person has muted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// The id of the issue.
    #[serde(deserialize_with = "fields::id")]
    pub issue: String,
    /// When it was muted.
    pub from: Timestamp,
    /// When the mute ends.
    pub until: Timestamp,
    /// Why it was muted.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub reason: String,
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_kind_and_what_is_absent_may_be_missing_or_null() {
        let bare = r#"{"kind":"call","run":"r","number":1,"at":"2026-11-18T10:00:00Z","tool":"todo.list","module":"todo","ok":true}"#;
        let line: Line = serde_json::from_str(bare).unwrap();
        let Line::Call(call) = &line else { panic!("{line:?}") };
        assert_eq!((call.tries, call.cause, call.quote.as_deref()), (1, None, None));
        let written = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&written).unwrap(), line);
        let tick = r#"{"kind":"tick","at":"2026-11-18T10:00:00Z","x":1}"#;
        assert!(serde_json::from_str::<Line>(tick).is_ok());
        for bad in [
            r#"{"kind":"tock","at":"2026-11-18T10:00:00Z"}"#.to_owned(),
            bare.replace(r#""ok":true"#, r#""ok":false,"cause":"bad luck""#),
        ] {
            assert!(serde_json::from_str::<Line>(&bad).is_err(), "{bad}");
        }
    }
}
