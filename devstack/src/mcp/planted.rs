//! Faults of the product that tests plant: which tools fail for whom, from when and how often, and what the
//! caller then sees. What the faults did is counted in [`Toll`].
//!
//! A call that the server would refuse is refused first: planted faults strike calls that would have reached
//! their tool.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::calls::Behaviour;
use crate::chance::Chance;

mod toll;
pub use toll::{Strike, Toll};

/// One fault of the product. In JSON: `{"name", "tools", "personas", "percent", "from", "until", "shows"}`, of
/// which only `name` and `shows` are required.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlantedFault {
    name: String,
    /// MCP names; empty means all tools.
    #[serde(default)]
    tools: Vec<String>,
    /// E-mails; empty means all personas.
    #[serde(default)]
    personas: Vec<String>,
    #[serde(default = "always")]
    percent: u64,
    #[serde(default = "the_beginning")]
    from: DateTime,
    #[serde(default = "the_end")]
    until: DateTime,
    shows: Shows,
}

fn always() -> u64 {
    100
}

fn the_beginning() -> DateTime {
    DateTime::MIN
}

fn the_end() -> DateTime {
    DateTime::MAX
}

/// What the caller sees. Messages may hold `{uuid}` (a new one each time), `{title}` (the call's `title`, else
/// its first text), `{time}`, `{number}` (of the strike, from 1) and `{tool}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shows {
    /// `isError` with this message as text.
    Text(String),
    /// `isError` with the JSON text `{"error": code, "message": message}`.
    Coded {
        /// The code, by convention in UPPER_SNAKE case.
        code: String,
        /// The message.
        message: String,
    },
    /// A JSON-RPC error.
    RpcError {
        /// JSON-RPC error code.
        code: i32,
        /// The message.
        message: String,
    },
    /// The server's words for arguments that do not satisfy the tool's schema.
    Invalid {
        /// Path of the value, with dots.
        path: String,
        /// What is wrong with the value.
        message: String,
    },
    /// The server's words for a call that its policy denies, with this reason.
    Denied(String),
    /// The server's words for a tool that does not exist, although the tool is listed.
    Vanished,
    /// The tool does its work after this many milliseconds.
    Slow(u64),
    /// The tool does its work, then the stream ends without an event.
    Cut,
    /// The tool does its work and answers with a text of this many characters.
    Flood(usize),
    /// Every request to the server, whatever its tool, gets this HTTP status and nothing is done.
    Unreachable(u16),
}

impl PlantedFault {
    /// A fault of all tools, for all personas and at all times. `name` is the name under which the fault is
    /// counted.
    pub fn new(name: &str, shows: Shows) -> Self {
        Self {
            name: name.into(),
            tools: Vec::new(),
            personas: Vec::new(),
            percent: always(),
            from: the_beginning(),
            until: the_end(),
            shows,
        }
    }

    /// Limits the fault to the tools with these MCP names.
    #[must_use]
    pub fn at<T: Into<String>>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
        self.tools = tools.into_iter().map(Into::into).collect();
        self
    }

    /// Limits the fault to the personas with these e-mails.
    #[must_use]
    pub fn befalls<E: Into<String>>(mut self, emails: impl IntoIterator<Item = E>) -> Self {
        self.personas = emails.into_iter().map(Into::into).collect();
        self
    }

    /// Lets the fault strike `percent` of a hundred calls. Which calls follows from the server's seed, the
    /// fault's name, the persona, the tool, and the number of such calls that the fault could have struck.
    #[must_use]
    pub fn sometimes(mut self, percent: u64) -> Self {
        self.percent = percent;
        self
    }

    /// Lets the fault begin at this date or time of the calendar, in UTC.
    #[must_use]
    pub fn from(mut self, from: impl Into<DateTime>) -> Self {
        self.from = from.into();
        self
    }

    /// Lets the fault end at this date or time of the calendar, in UTC; the date itself is free of it.
    #[must_use]
    pub fn until(mut self, until: impl Into<DateTime>) -> Self {
        self.until = until.into();
        self
    }

    fn concerns(&self, stage: Stage, target: &Target<'_>) -> bool {
        let has = |list: &[String], one: &str| list.is_empty() || list.iter().any(|it| it == one);
        let now = target.at.to_zoned(TimeZone::UTC).datetime();
        self.shows.stage() == stage
            && (stage == Stage::Door || has(&self.tools, target.tool))
            && has(&self.personas, target.persona)
            && (self.from..self.until).contains(&now)
    }
}

/// The step of the server's handling at which a fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before any check of the request.
    Door,
    /// Where the tool is looked up.
    Lookup,
    /// Where the tool would begin.
    Tool,
}

impl Shows {
    fn stage(&self) -> Stage {
        match self {
            Self::Unreachable(_) => Stage::Door,
            Self::Vanished => Stage::Lookup,
            _ => Stage::Tool,
        }
    }

    fn is_answer(&self) -> bool {
        !matches!(self, Self::Cut | Self::Unreachable(_))
    }
}

/// What a fault can strike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// E-mail of the persona.
    pub persona: &'a str,
    pub session: &'a str,
    /// MCP name of the tool; empty at the door.
    pub tool: &'a str,
    /// Time of the calendar.
    pub at: Timestamp,
}

/// A fault that struck.
#[derive(Debug)]
pub(super) struct Struck {
    shows: Shows,
    /// Number of this strike among those of its fault, from 1.
    number: usize,
}

/// The faults planted in one server, and everything that they struck.
#[derive(Debug)]
pub(super) struct Planted {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<PlantedFault>,
    /// How many targets a fault could have struck, by fault, persona and tool. Calls that a persona makes at
    /// the same time are of different tools, so that their order decides nothing.
    chances: HashMap<String, u64>,
    strikes: Vec<Strike>,
}

impl Planted {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, state: Mutex::default() }
    }

    pub(super) fn plant(&self, fault: PlantedFault) {
        self.lock().faults.push(fault);
    }

    pub(super) fn uproot(&self, name: &str) {
        self.lock().faults.retain(|fault| fault.name != name);
    }

    pub(super) fn strikes(&self) -> Vec<Strike> {
        self.lock().strikes.clone()
    }

    /// The first planted fault that strikes this target.
    pub(super) fn strike(&self, stage: Stage, target: &Target<'_>) -> Option<Struck> {
        let mut state = self.lock();
        let State { faults, chances, strikes } = &mut *state;
        let fault = faults.iter().filter(|fault| fault.concerns(stage, target)).find(|fault| {
            let draw = format!("{} {} {}", fault.name, target.persona, target.tool);
            let number = chances.entry(draw.clone()).or_default();
            *number += 1;
            Chance::named(self.seed, &draw, *number).percent(fault.percent)
        })?;
        let number = 1 + strikes.iter().filter(|strike| strike.fault == fault.name).count();
        strikes.push(Strike {
            fault: fault.name.clone(),
            persona: target.persona.to_owned(),
            session: target.session.to_owned(),
            tool: target.tool.to_owned(),
            at: target.at,
            answered: fault.shows.is_answer(),
        });
        Some(Struck { shows: fault.shows.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server does with a call that a fault struck.
#[derive(Debug)]
pub(super) enum Effect {
    /// The call never reaches its tool and is answered with `isError` and this text.
    Refused(String),
    /// The tool behaves in this way.
    Behaves(Behaviour),
}

impl Struck {
    /// The HTTP status of a request that was struck at the door.
    pub(super) fn status(&self) -> u16 {
        if let Shows::Unreachable(status) = self.shows { status } else { 503 }
    }

    /// What happens to a call that was struck at its tool.
    pub(super) fn effect(self, target: &Target<'_>, arguments: &Map<String, Value>) -> Effect {
        let tool = target.tool;
        let say = |message: &str| self.message(message, target, arguments);
        match &self.shows {
            Shows::Text(message) => Effect::Behaves(Behaviour::IsError(say(message))),
            Shows::Coded { code, message } => {
                let text = format!("{:#}", json!({"error": code, "message": say(message)}));
                Effect::Behaves(Behaviour::IsError(text))
            }
            Shows::RpcError { code, message } => {
                Effect::Behaves(Behaviour::RpcError { code: *code, message: say(message) })
            }
            Shows::Invalid { path, message } => {
                Effect::Refused(invalid(tool, &json!([{"path": path, "message": say(message)}])))
            }
            Shows::Denied(reason) => Effect::Refused(denied(tool, reason)),
            Shows::Vanished | Shows::Unreachable(_) => Effect::Refused(not_found(tool)),
            Shows::Slow(millis) => {
                Effect::Behaves(Behaviour::Delay(Duration::from_millis(*millis)))
            }
            Shows::Cut => Effect::Behaves(Behaviour::EndsStream),
            Shows::Flood(characters) => Effect::Behaves(Behaviour::Floods(*characters)),
        }
    }

    fn message(
        &self,
        template: &str,
        target: &Target<'_>,
        arguments: &Map<String, Value>,
    ) -> String {
        let title = arguments.get("title").and_then(Value::as_str);
        let title = title.or_else(|| arguments.values().find_map(Value::as_str));
        let values = [
            ("{uuid}", Uuid::now_v7().to_string()),
            ("{time}", format!("{:.3}", target.at)),
            ("{number}", self.number.to_string()),
            ("{tool}", target.tool.to_owned()),
            // Last: a title may itself hold what looks like a placeholder.
            ("{title}", title.unwrap_or_default().to_owned()),
        ];
        values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// The server's words for a tool that does not exist.
pub(super) fn not_found(tool: &str) -> String {
    format!("MCP error -32602: Tool {tool} not found")
}

/// The server's words for invalid arguments.
pub(super) fn invalid(tool: &str, issues: &Value) -> String {
    format!(
        "MCP error -32602: Input validation error: Invalid arguments for tool {tool}: {issues:#}"
    )
}

/// The server's words for a call that its policy denies.
pub(super) fn denied(tool: &str, reason: &str) -> String {
    format!("Policy denied {tool}: {reason}")
}
