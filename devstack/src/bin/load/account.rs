//! Checks that every call and every rating of every persona has its row.

use std::collections::{BTreeMap, BTreeSet};

use devstack::Devstack;
use serde_json::Value;

/// The events of one persona's day, taken from the peers' calls or from the rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Day {
    /// Number of calls, by tool and success.
    calls: BTreeMap<(String, bool), usize>,
    /// Ids of the persona's runs.
    runs: BTreeSet<String>,
    /// Names of the rated modules.
    rated: BTreeSet<String>,
}

/// The errors found after a tick of these users in which each sent this many model requests.
pub(crate) async fn check(
    peers: &Devstack,
    users: &[String],
    answer: &Value,
    requests: usize,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, otherwise: String| {
        if !holds {
            wrong.push(otherwise);
        }
    };
    let result = &answer["result"];
    let complete = result["due"] == users.len() && result["ranSuccessfully"] == users.len();
    expect(complete, format!("the tick says {answer:.500}"));
    let served = peers.claude.bills().len();
    expect(
        served == users.len() * requests,
        format!(
            "{served} model requests for {} personas, {requests} of each expected",
            users.len()
        ),
    );
    let violations = peers.claude.violations();
    expect(violations.is_empty(), format!("requests Claude refuses: {violations:?}"));
    let open = peers.mcp.open_sessions();
    expect(open == 0, format!("{open} MCP sessions are still open"));

    let (executed, handed_in) = (executed(peers), handed_in(peers).await);
    for user in users {
        let (Some(calls), Some(day)) = (executed.get(user), handed_in.get(user)) else {
            expect(false, format!("{user} has called nothing, or has no rows"));
            continue;
        };
        expect(
            *calls == day.calls,
            format!("{user}: MCP carried out {calls:?}, the rows say {:?}", day.calls),
        );
        expect(day.runs.len() == 1, format!("{user} has rows of {} runs", day.runs.len()));
        let used: BTreeSet<_> =
            calls.keys().filter_map(|(tool, _)| tool.split('.').next()).collect();
        let rated: BTreeSet<_> = day.rated.iter().map(String::as_str).collect();
        expect(used == rated, format!("{user} used {used:?} and rated {rated:?}"));
    }
    let rows: usize = handed_in.values().flat_map(|day| day.calls.values()).sum();
    let ratings: usize = handed_in.values().map(|day| day.rated.len()).sum();
    println!(
        "  {served} model requests, {rows} calls and {ratings} ratings, {} personas",
        handed_in.len()
    );
    wrong
}

/// The calls that mana-mcp has executed, by user.
fn executed(peers: &Devstack) -> BTreeMap<String, BTreeMap<(String, bool), usize>> {
    let mut executed: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for call in peers.mcp.calls() {
        let ok = call.is_error == Some(false);
        *executed.entry(call.user_id).or_default().entry((call.tool, ok)).or_default() += 1;
    }
    executed
}

/// The rows in mana-auth's database, by user.
async fn handed_in(peers: &Devstack) -> BTreeMap<String, Day> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    for row in peers.auth.actions().await {
        let day = days.entry(row.persona_id).or_default();
        *day.calls.entry((row.tool_name, row.result == "ok")).or_default() += 1;
        day.runs.insert(row.tick_id);
    }
    for row in peers.auth.feedback().await {
        let day = days.entry(row.persona_id).or_default();
        day.rated.insert(row.module);
        day.runs.insert(row.tick_id);
    }
    days
}
