//! The peers, and personas whose every tool call can be told from all others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use devstack::{
    Devstack, Options as PeerOptions,
    auth::SeedPersona,
    catalog,
    claude::{ParsedRequest, Scripted},
    clock::Clock,
    mcp::{Behaviour, ToolSet},
};
use mana_persona_runner::domain::{Cadence, InputHash, derive_password};
use serde_json::{Map, Value, json};

use crate::{Problem, chance::Chance};

/// What the personas are seeded with.
pub const SEED_SECRET: &str = "crash-seed-secret";
/// A Monday: everybody is due.
const START: &str = "2026-03-09T11:00:00Z";
/// Those of the ten that are due every hour; the others keep their cadence.
const HOURLY: usize = 6;
/// Replies of a main turn, the closing one included.
const REPLIES: usize = 5;
/// How long the model and the tools take: long enough for a kill to hit them.
const MODEL_LATENCY: Duration = Duration::from_millis(25);
const TOOL_LATENCY: Duration = Duration::from_millis(12);
/// Module and verb of the tools, and whether they only read.
const TOOLS: [(&str, &str, bool); 4] = [
    ("diary", "search", true),
    ("garden", "list", true),
    ("diary", "write", false),
    ("garden", "plant", false),
];

/// A call that a reply has asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its mark, which no other call has.
    pub mark: String,
    /// The tool's name as MCP lists it.
    pub tool: String,
}

/// Calls asked for, by the hash of their input.
pub type AskedCalls = Arc<Mutex<HashMap<String, Asked>>>;

/// devstack with its personas.
pub struct World {
    /// The peers.
    pub peers: Devstack,
    /// Cadence of each persona, by user id.
    pub cadences: HashMap<String, Cadence>,
    asked: AskedCalls,
}

impl World {
    /// Starts the peers.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn start(seed: u64) -> Result<Self, Problem> {
        let mut options = PeerOptions::default();
        options.claude.latency = MODEL_LATENCY;
        options.mcp.tools = ToolSet::Empty;
        let peers = Devstack::start(options, Clock::starting_at(START.parse()?)).await?;
        for (module, verb, _) in TOOLS {
            let name = format!("{module}.{verb}");
            let schema: Map<String, Value> = serde_json::from_value(json!({
                "type": "object",
                "properties": {"mark": {"type": "string"}, "text": {"type": "string"}},
                "required": ["mark", "text"],
            }))?;
            peers.mcp.add_tool(&name, "Keeps what it is called with.", schema);
            peers.mcp.override_tool(&name, usize::MAX, Behaviour::Delay(TOOL_LATENCY));
        }
        let mut personas = catalog::personas();
        for persona in personas.iter_mut().take(HOURLY) {
            persona.cadence = "hourly".into();
        }
        let password = |email: &str| derive_password(SEED_SECRET, email);
        let users = peers.auth.seed(&personas, password).await?;
        let cadences = users.into_iter().zip(personas.iter().map(cadence)).collect();
        let asked = AskedCalls::default();
        peers.claude.answer_with(script(seed, asked.clone()));
        Ok(Self { peers, cadences, asked })
    }

    /// Every call that a reply has asked for, by the hash of its input.
    pub fn asked(&self) -> HashMap<String, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn cadence(persona: &SeedPersona) -> Cadence {
    match persona.cadence.as_str() {
        "hourly" => Cadence::Hourly,
        "weekdays" => Cadence::Weekdays,
        _ => Cadence::Daily,
    }
}

/// A day in the product: a look at what is there, then mostly writes, one or two calls in a reply.
fn script(
    seed: u64,
    asked: AskedCalls,
) -> impl Fn(&ParsedRequest) -> Option<Scripted> + Send + Sync + 'static {
    let chance = Mutex::new((Chance::new(seed, 1), 0_u64));
    move |request| {
        if request.is_rating() {
            return None;
        }
        let (chance, served) = &mut *chance.lock().unwrap_or_else(PoisonError::into_inner);
        let thinking =
            |n: u64| json!({"type": "thinking", "thinking": "", "signature": format!("sig_{n}")});
        *served += 1;
        let mut blocks = vec![thinking(*served)];
        if request.turn() + 1 >= REPLIES {
            blocks.push(json!({"type": "text", "text": "Genug für heute."}));
            return Some(Scripted::blocks(&blocks, "end_turn"));
        }
        let reads = request.turn() == 0 || chance.percent(25);
        for _ in 0..chance.between(1, 3) {
            *served += 1;
            let fitting: Vec<_> =
                TOOLS.iter().filter(|(_, _, is_read)| *is_read == reads).collect();
            let place =
                usize::try_from(chance.between(0, fitting.len() as u64)).unwrap_or_default();
            let (module, verb, _) = fitting[place];
            let name = request
                .tool_names()
                .into_iter()
                .find(|name| name.starts_with(module) && name.ends_with(verb))?;
            let mark = format!("call {served}");
            let input = json!({"mark": mark, "text": "Heute war ein guter Tag."});
            let hash = InputHash::of_json(&input.to_string())?;
            let call = Asked { mark, tool: format!("{module}.{verb}") };
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.insert(hash.as_str().to_owned(), call);
            blocks.push(json!({
                "type": "tool_use", "id": format!("toolu_{served}"), "name": name, "input": input,
            }));
        }
        Some(Scripted::blocks(&blocks, "tool_use"))
    }
}
