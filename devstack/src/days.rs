//! Days that the ten personas live one after another, for the tests and programs in which weeks pass.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, tz::TimeZone};
use tokio::time::sleep;

use crate::{
    Devstack, catalog,
    mcp::{ManaMcp, PlantedFault, Shows, ToolSet},
};

/// The name under which the fault of [`be_away`] is counted.
pub const OUTAGE: &str = "outage";

/// Number of calls of a day after which an outage begins.
const CALLS_BEFORE: usize = 20;
/// Number of parts of an outage.
const IN_VAIN: u32 = 10;

/// Pause between two looks at what an outage has done.
const LOOK: Duration = Duration::from_millis(10);

/// Offers only tools of modules that a persona likes, because each request to the model contains all of them.
///
/// # Errors
/// When the tool catalog is invalid.
pub fn offer_what_is_liked(mcp: &ManaMcp) -> Result<(), serde_json::Error> {
    let liked: BTreeSet<String> = catalog::personas()
        .into_iter()
        .flat_map(|persona| persona.module_mix)
        .map(|it| it.0)
        .collect();
    let all = mcp.listed_tools();
    let names = all.iter().filter_map(|tool| tool["name"].as_str());
    let is_liked = |name: &&str| name.split_once('.').is_some_and(|(of, _)| liked.contains(of));
    mcp.set_tools(&ToolSet::Only(names.filter(is_liked).map(str::to_owned).collect()))
}

/// Makes mana-mcp answer with this status and do nothing, in the middle of a day that has begun: after the first calls,
/// until `duration` has passed on the calendar. A part of it passes with each request in vain, and `pass` is told of it.
/// Waits without a bound for the calls and the requests.
pub async fn be_away(peers: &Devstack, duration: Duration, status: u16, pass: impl Fn(Duration)) {
    let begin = peers.clock.calendar();
    peers.mcp.wait_for_calls(CALLS_BEFORE, |call| call.at >= begin).await;
    let from = peers.clock.calendar().to_zoned(TimeZone::UTC).datetime();
    let until = from.saturating_add(SignedDuration::try_from(duration).unwrap_or_default());
    peers.mcp.plant(PlantedFault::new(OUTAGE, Shows::Unreachable(status)).from(from).until(until));
    let part = duration / IN_VAIN;
    for requests in 1..=IN_VAIN {
        while peers.mcp.toll(OUTAGE).calls < requests as usize {
            sleep(LOOK).await;
        }
        peers.clock.turn(part);
        pass(part);
    }
}
