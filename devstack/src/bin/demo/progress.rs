//! Prints the personas' tool calls while they happen.

use std::{collections::BTreeMap, error::Error, time::Duration};

use devstack::{Devstack, auth::SeedPersona};
use serde_json::Value;

/// Interval at which the screen is updated.
const REFRESH: Duration = Duration::from_millis(100);

/// Prints every tool call until the tick has ended; returns its answer.
///
/// # Errors
/// When the answer of the tick cannot be read.
pub(crate) async fn watch(
    peers: &Devstack,
    personas: &[(String, SeedPersona)],
    tick: impl Future<Output = Result<Value, Box<dyn Error>>>,
) -> Result<Value, Box<dyn Error>> {
    let names: BTreeMap<&str, &str> =
        personas.iter().map(|(id, persona)| (id.as_str(), persona.name.as_str())).collect();
    let mut shown = 0;
    let mut refresh = tokio::time::interval(REFRESH);
    tokio::pin!(tick);
    loop {
        let answer = tokio::select! {
            answer = &mut tick => Some(answer),
            _ = refresh.tick() => None,
        };
        let calls = peers.mcp.calls();
        // A call is printed once it has ended; later calls wait, so that the order is kept.
        while let Some(call) = calls.get(shown) {
            if call.is_error.is_none() && answer.is_none() {
                break;
            }
            let name = names.get(call.user_id.as_str()).copied().unwrap_or("?");
            let mark = if call.is_error == Some(false) { "ok" } else { "ERROR" };
            println!("  {name:<7} {:<26} {mark}", call.tool);
            shown += 1;
        }
        if let Some(answer) = answer {
            println!();
            return answer;
        }
    }
}
