//! What the personas do, as they do it.

use std::{collections::BTreeMap, error::Error, time::Duration};

use devstack::{Devstack, auth::SeedPersona};
use serde_json::Value;

/// How often the screen catches up.
const REFRESH: Duration = Duration::from_millis(100);

/// Prints every tool call until the tick has ended; returns its answer.
///
/// # Errors
/// When the tick's answer cannot be had.
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
        // A call is shown once it has ended; its place is kept until then.
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
