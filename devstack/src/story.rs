//! What happens in the product while the personas of the demo live, and those of the tests in a browser: two deployments
//! and an outage, all in the last week, so that its report has something to tell and the weeks before are its background.
//!
//! The product never works perfectly: a few calls fail at random, and until the first deployment many new notes are
//! lost, which that deployment repairs. The second deployment breaks a tool.

use std::time::Duration;

use jiff::civil::Weekday;

use crate::{
    Devstack, catalog,
    claude::{Manner, Rates},
    days,
    mcp::{PlantedFault, Shows},
};

/// The tool that fails until the first deployment of the last week.
const REPAIRED: &str = "notes.create";
/// The tool that fails from the second one on.
const BROKEN: &str = "todo.complete";
/// How long the outage lasts.
const OUTAGE: Duration = Duration::from_mins(10);

/// What happens on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Before anyone is up, a deployment that repairs `REPAIRED`.
    Repair,
    /// Before anyone is up, a deployment that breaks `BROKEN`.
    Regression,
    /// In the middle of the day mana-mcp cannot be reached.
    Outage,
}

impl Event {
    /// What happens on a day of the last week.
    pub fn on(weekday: Weekday) -> Option<Self> {
        match weekday {
            Weekday::Tuesday => Some(Self::Repair),
            Weekday::Thursday => Some(Self::Regression),
            Weekday::Friday => Some(Self::Outage),
            _ => None,
        }
    }

    /// The version of the product that is deployed, if that is what happens.
    pub fn deploys(self) -> Option<&'static str> {
        match self {
            Self::Repair => Some("1.5.0"),
            Self::Regression => Some("1.6.0"),
            Self::Outage => None,
        }
    }

    /// Makes it happen, except for the outage, which needs a day that has begun.
    pub fn prepare(self, peers: &Devstack) {
        if let Some(version) = self.deploys() {
            peers.product.set_version(version);
        }
        match self {
            Self::Repair => peers.mcp.uproot(REPAIRED),
            Self::Regression => {
                let text = "Task {title} could not be completed: no row was updated";
                peers.mcp.plant(PlantedFault::new(BROKEN, Shows::Text(text.into())).at([BROKEN]));
            }
            Self::Outage => {}
        }
    }

    /// Makes mana-mcp unreachable for a while if that is what happens on this day. Calls `pass` when time passes on the
    /// calendar.
    pub async fn strike(self, peers: &Devstack, pass: impl Fn(Duration)) {
        if self == Self::Outage {
            // With this status each call fails at once. After a 503 the runner waits and calls again: nobody notices.
            days::be_away(peers, OUTAGE, 500, pass).await;
        }
    }

    /// What a team would tell of it.
    pub fn told(self) -> String {
        match self {
            Self::Repair => format!("1.5.0 is deployed; it repairs {REPAIRED}"),
            Self::Regression => format!("1.6.0 is deployed; it breaks {BROKEN}"),
            Self::Outage => {
                format!("mana-mcp is away for {} minutes", OUTAGE.as_secs() / 60)
            }
        }
    }
}

/// Makes the product and the personas what they are from the first day on.
///
/// # Errors
/// When the tool catalog is invalid.
pub fn begin(peers: &Devstack) -> Result<(), serde_json::Error> {
    days::offer_what_is_liked(&peers.mcp)?;
    peers.product.set_version("1.4.0");
    let lost = Shows::Text("Note {uuid} is locked by another device".into());
    peers.mcp.plant(PlantedFault::new(REPAIRED, lost).at([REPAIRED]).sometimes(50));
    let random = Shows::Text("Something went wrong, please try again".into());
    peers.mcp.plant(PlantedFault::new("random", random).sometimes(2));
    for persona in catalog::personas() {
        let manner = Manner { rates: Rates::Experience, repeats: 30, ..Manner::default() };
        peers.claude.set_manner(&persona.system_prompt, manner);
    }
    Ok(())
}
