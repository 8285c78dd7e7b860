//! What all ticks and runs of this process share.

use std::sync::Arc;

use super::{
    admission::Admission, budget::Budget, control::Control, holds::Holds, outbox::Outbox,
    seed_secret::SeedSecret,
};
use crate::{
    clients::claude::ClaudeClient, clock::Clock, journal::Journal, metrics::Metrics,
    shutdown::Shutdown,
};

/// Handles of what all ticks and runs share, each the one owner of its own state.
#[derive(Debug)]
pub struct Fleet {
    /// Whether runs may begin.
    pub admission: Arc<Admission>,
    /// Who plays the personas.
    pub claude: Arc<ClaudeClient>,
    /// Where everything is written down.
    pub journal: Journal,
    /// Rows on their way.
    pub outbox: Outbox,
    /// What may be spent.
    pub budget: Arc<Budget>,
    /// Pauses, and the runs in flight.
    pub control: Control,
    /// Who does not run for now.
    pub holds: Holds,
    /// Whether logins can go well.
    pub seed_secret: Arc<SeedSecret>,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// Today.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}
