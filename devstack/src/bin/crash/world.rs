//! The peers, and personas whose tool calls each carry a unique mark.

use std::{collections::HashMap, time::Duration};

use devstack::{
    Devstack, Options as PeerOptions,
    auth::SeedPersona,
    catalog,
    clock::Clock,
    marked::Marked,
    mcp::{PlantedFault, Shows, ToolSet},
};
use mana_persona_runner::domain::{Cadence, derive_password};

use crate::Problem;

/// The secret from which the personas' passwords are derived.
pub(crate) const SEED_SECRET: &str = "crash-seed-secret";
/// A Monday: every persona is due.
const START: &str = "2026-03-09T11:00:00Z";
/// How many of the ten personas are due every hour; the others keep their cadence.
const HOURLY: usize = 6;
/// Replies of a main turn, including the closing one.
const REPLIES: usize = 5;
/// Latency of the model and of the tools: long enough that kills hit requests in flight.
const MODEL_LATENCY: Duration = Duration::from_millis(25);
const TOOL_LATENCY: Duration = Duration::from_millis(12);

/// The devstack with its personas.
pub(crate) struct World {
    /// The peers that the daemon uses.
    pub peers: Devstack,
    /// Cadence of each persona, by user id.
    pub cadences: HashMap<String, Cadence>,
    /// The marked calls that the model requested.
    pub marked: Marked,
}

impl World {
    /// Starts the peers and seeds the personas.
    ///
    /// # Errors
    /// When a peer does not start or a persona cannot be created.
    pub(crate) async fn start(seed: u64) -> Result<Self, Problem> {
        let mut options = PeerOptions::default();
        options.claude.latency = MODEL_LATENCY;
        options.mcp.tools = ToolSet::Empty;
        options.mcp.seed = seed;
        let peers = Devstack::start(options, Clock::starting_at(START.parse()?)).await?;
        let marked = Marked::begin(&peers, seed, REPLIES, TOOL_LATENCY)?;
        plant_faults(&peers);
        let mut personas = catalog::personas();
        for persona in personas.iter_mut().take(HOURLY) {
            persona.cadence = "hourly".into();
        }
        let password = |email: &str| derive_password(SEED_SECRET, email);
        let users = peers.auth.seed(&personas, password).await?;
        let cadences = users.into_iter().zip(personas.iter().map(cadence)).collect();
        Ok(Self { peers, cadences, marked })
    }
}

/// Plants faults of the product, so that runs have failures of several kinds whatever the crashes hit. Each fault is
/// an answer: a call without one is repeated if it only reads, and each call must be carried out once.
fn plant_faults(peers: &Devstack) {
    let locked = Shows::Text("Entry {uuid} ({title}) is locked since {time}".into());
    let full = Shows::Coded { code: "GARDEN_FULL".into(), message: "bed {number} is full".into() };
    let invalid = Shows::Invalid { path: "text".into(), message: "Too small".into() };
    for fault in [
        PlantedFault::new("locked", locked).at(["diary.write"]).sometimes(20),
        PlantedFault::new("full", full).at(["garden.plant"]).sometimes(20),
        PlantedFault::new("invalid", invalid).sometimes(5),
        PlantedFault::new("denied", Shows::Denied("rate-limit".into())).sometimes(2),
    ] {
        peers.mcp.plant(fault);
    }
}

fn cadence(persona: &SeedPersona) -> Cadence {
    match persona.cadence.as_str() {
        "hourly" => Cadence::Hourly,
        "weekdays" => Cadence::Weekdays,
        _ => Cadence::Daily,
    }
}
