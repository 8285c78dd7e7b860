//! Personas whose tool calls each carry a unique mark, so that calls, rows and the model's requests can be
//! compared one by one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    Devstack,
    auth::ActionRow,
    chance::Chance,
    claude::{ParsedRequest, Scripted},
    mcp::{Behaviour, Call},
};

/// Prefix of the tool names of rows that are not calls.
pub const NO_CALL: &str = "__";
/// Module and verb of the offered tools, and whether they only read.
const TOOLS: [(&str, &str, bool); 4] = [
    ("diary", "search", true),
    ("garden", "list", true),
    ("diary", "write", false),
    ("garden", "plant", false),
];

/// A call that a reply has requested.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The call's mark, which no other call has.
    pub mark: String,
    /// The tool's MCP name.
    pub tool: String,
    /// The call's input, as JSON.
    pub input: String,
}

/// The calls that the scripted replies requested. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Marked(Arc<Mutex<Vec<Asked>>>);

/// The result of comparing calls and rows.
#[derive(Debug, Default)]
pub struct Comparison<'a> {
    /// Calls that reached a tool, by mark: the user id, and whether the last execution returned an error.
    pub executed: HashMap<String, (String, Option<bool>)>,
    /// Rows of calls, by mark.
    pub rows: HashMap<String, &'a ActionRow>,
    /// Number of calls that were executed although their rows report an error, because the runner did not
    /// receive the answer.
    pub unknown: usize,
    /// Number of reads that were executed more than once.
    pub repeated_reads: usize,
    /// The rules that do not hold, as messages.
    pub wrong: Vec<String>,
}

impl Marked {
    /// Adds tools with this latency to these peers, which should offer no others, and makes the model call
    /// them. Each main turn has `replies` replies, including the closing one.
    ///
    /// # Errors
    /// When a tool's schema is invalid, which is a bug of this module.
    pub fn begin(
        peers: &Devstack,
        seed: u64,
        replies: usize,
        tool_latency: Duration,
    ) -> serde_json::Result<Self> {
        for (module, verb, _) in TOOLS {
            let name = format!("{module}.{verb}");
            let schema: Map<String, Value> = serde_json::from_value(json!({
                "type": "object",
                "properties": {"mark": {"type": "string"}, "text": {"type": "string"}},
                "required": ["mark", "text"],
            }))?;
            peers.mcp.add_tool(&name, "Keeps what it is called with.", schema);
            peers.mcp.override_tool(&name, usize::MAX, Behaviour::Delay(tool_latency));
        }
        let marked = Self::default();
        peers.claude.answer_with(marked.clone().script(seed, replies));
        Ok(marked)
    }

    /// Every call that a reply has requested so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The replies of a main turn: first a read, then mostly writes, with one or two calls per reply.
    fn script(
        self,
        seed: u64,
        replies: usize,
    ) -> impl Fn(&ParsedRequest) -> Option<Scripted> + Send + Sync + 'static {
        let chance = Mutex::new((Chance::new(seed, 1), 0_u64));
        move |request| {
            if request.is_rating() {
                return None;
            }
            let (chance, served) = &mut *chance.lock().unwrap_or_else(PoisonError::into_inner);
            *served += 1;
            let signature = format!("sig_{served}");
            let mut blocks =
                vec![json!({"type": "thinking", "thinking": "", "signature": signature})];
            if request.turn() + 1 >= replies {
                blocks.push(json!({"type": "text", "text": "Genug für heute."}));
                return Some(Scripted::blocks(&blocks, "end_turn"));
            }
            let reads = request.turn() == 0 || chance.percent(25);
            for _ in 0..chance.between(1, 3) {
                *served += 1;
                blocks.push(self.call(request, chance, reads, *served)?);
            }
            Some(Scripted::blocks(&blocks, "tool_use"))
        }
    }

    /// The block of one more call; the call is recorded.
    fn call(
        &self,
        request: &ParsedRequest,
        chance: &mut Chance,
        reads: bool,
        number: u64,
    ) -> Option<Value> {
        let fitting: Vec<_> = TOOLS.iter().filter(|(_, _, is_read)| *is_read == reads).collect();
        let place = usize::try_from(chance.between(0, fitting.len() as u64)).unwrap_or_default();
        let (module, verb, _) = fitting[place];
        let is_it = |name: &&str| name.starts_with(module) && name.ends_with(verb);
        let name = request.tool_names().into_iter().find(is_it)?;
        let mark = format!("call {number}");
        let input = json!({"mark": mark, "text": "Heute war ein guter Tag."});
        let asked = Asked { mark, tool: format!("{module}.{verb}"), input: input.to_string() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let id = format!("toolu_{number}");
        Some(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
    }

    /// Compares the requested calls, the executed calls and the posted rows: each call has one row, of its
    /// own persona, whose result is correct as far as the runner can know; and there are no other rows.
    /// `hash` computes a row's input hash. With `reads_repeat`, a read may be executed again where its answer
    /// was lost; a write never.
    pub fn compare<'a>(
        &self,
        calls: Vec<Call>,
        rows: &'a [ActionRow],
        reads_repeat: bool,
        hash: impl Fn(&str) -> Option<String>,
    ) -> Comparison<'a> {
        let asked: HashMap<_, _> = self
            .asked()
            .into_iter()
            .filter_map(|asked| Some((hash(&asked.input)?, asked)))
            .collect();
        let mut comparison = Comparison::default();
        comparison.add_calls(calls, reads_repeat);
        comparison.add_rows(&asked, rows);
        comparison.match_up();
        comparison
    }
}

impl<'a> Comparison<'a> {
    fn add_calls(&mut self, calls: Vec<Call>, reads_repeat: bool) {
        for call in calls {
            let mark = call.arguments["mark"].as_str().unwrap_or_default().to_owned();
            let ended = (call.user_id, call.is_error);
            if self.executed.insert(mark.clone(), ended).is_none() {
                continue;
            }
            if reads_repeat && is_read(&call.tool) {
                self.repeated_reads += 1;
            } else {
                self.wrong.push(format!("{mark} ({}) was carried out twice", call.tool));
            }
        }
    }

    fn add_rows(&mut self, asked: &HashMap<String, Asked>, rows: &'a [ActionRow]) {
        for row in rows.iter().filter(|row| !row.tool_name.starts_with(NO_CALL)) {
            match row.input_hash.as_ref().and_then(|hash| asked.get(hash)) {
                None => self.wrong.push(format!("row {} is of no call asked for", row.id)),
                Some(Asked { mark, tool, .. }) => {
                    if *tool != row.tool_name {
                        self.wrong.push(format!("row {} is of {tool}", row.id));
                    }
                    if let Some(other) = self.rows.insert(mark.clone(), row) {
                        let both = format!("{} and {}", other.id, row.id);
                        self.wrong.push(format!("{mark} has two rows: {both}"));
                    }
                }
            }
        }
    }

    fn match_up(&mut self) {
        for (mark, (persona, is_error)) in &self.executed {
            let Some(row) = self.rows.get(mark) else {
                self.wrong.push(format!("{mark} was carried out for {persona} and has no row"));
                continue;
            };
            if row.persona_id != *persona {
                self.wrong.push(format!("row {} is another's", row.id));
            }
            if *is_error == Some(false) && row.result != "ok" {
                self.unknown += 1;
                let error = row.error_message.as_deref().unwrap_or_default();
                if !(error.contains("unknown") || error.contains("stop")) {
                    let id = &row.id;
                    self.wrong
                        .push(format!("{mark} was carried out, and its row {id} says: {error}"));
                }
            }
        }
        for (mark, row) in &self.rows {
            if row.result == "ok" && !self.executed.contains_key(mark) {
                let id = &row.id;
                self.wrong.push(format!("row {id} says ok, and {mark} was never carried out"));
            }
        }
    }
}

fn is_read(name: &str) -> bool {
    TOOLS.iter().any(|(module, verb, is_read)| {
        *is_read && name.strip_prefix(module).is_some_and(|rest| rest.ends_with(verb))
    })
}
