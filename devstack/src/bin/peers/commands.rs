//! The commands that `peers` reads from its standard input.
//!
//! | command | does | answer |
//! |---|---|---|
//! | `day` | steps the calendar, and with it `serverTime`, by one day | `{"serverTime"}` |
//! | `turn SECONDS` | sets the calendar forward | `{"serverTime"}` |
//! | `plant FAULT` | plants a fault, given as JSON | `{"ok":true}` |
//! | `uproot NAME` | removes the faults of this name | `{"ok":true}` |
//! | `toll NAME` | | what the faults of this name did |
//! | `version VERSION` | changes the version of mana-mcp's `serverInfo` and of the health endpoint | `{"ok":true}` |
//! | `health` | | `{"versionUrl"}` |
//! | `manner NAME MANNER` | gives the persona of the catalog with this name a manner, given as JSON | `{"ok":true}` |

use std::time::Duration;

use devstack::{Devstack, catalog};
use serde_json::{Value, json};

/// Executes the command of one line. A line that is no command changes nothing.
pub(super) fn answer(peers: &Devstack, line: &str) -> Value {
    execute(peers, line).unwrap_or_else(|error| json!({"error": error}))
}

fn execute(peers: &Devstack, line: &str) -> Result<Value, String> {
    let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let server_time = || json!({"serverTime": peers.clock.calendar().to_string()});
    let ok = json!({"ok": true});
    match command {
        "day" => {
            peers.clock.step_day();
            return Ok(server_time());
        }
        "turn" => {
            peers.clock.turn(Duration::from_secs(rest.parse().map_err(because)?));
            return Ok(server_time());
        }
        "plant" => peers.mcp.plant(serde_json::from_str(rest).map_err(because)?),
        "uproot" => peers.mcp.uproot(rest),
        "toll" => return serde_json::to_value(peers.mcp.toll(rest)).map_err(because),
        "version" => {
            peers.mcp.set_version(rest);
            peers.product.set_version(rest);
        }
        "health" => return Ok(json!({"versionUrl": peers.product.version_url()})),
        "manner" => {
            let (name, manner) = rest.split_once(' ').ok_or("a name and a manner are expected")?;
            let persona = catalog::personas().into_iter().find(|persona| persona.name == name);
            let persona = persona.ok_or_else(|| format!("there is no persona {name}"))?;
            let manner = serde_json::from_str(manner).map_err(because)?;
            peers.claude.set_manner(&persona.system_prompt, manner);
        }
        other => return Err(format!("there is no command {other}")),
    }
    Ok(ok)
}

fn because(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use devstack::{Options, clock::Clock};

    use super::*;

    #[tokio::test]
    async fn each_command_does_its_work_and_answers_with_one_line() {
        let start = "2026-03-09T11:00:00Z".parse().unwrap();
        let peers = Devstack::start(Options::default(), Clock::starting_at(start)).await.unwrap();
        peers.clock.set_speed(0.0);
        peers.clock.set(start);
        let say = |line: &str| answer(&peers, line).to_string();
        assert_eq!(say("day"), r#"{"serverTime":"2026-03-10T11:00:00Z"}"#);
        assert_eq!(say("turn 600"), r#"{"serverTime":"2026-03-10T11:10:00Z"}"#);
        for line in [
            r#"plant {"name": "a", "shows": "cut"}"#,
            "uproot a",
            "version 1.4.0",
            r#"manner Anna {"rates": "flatters", "loudOn": 2}"#,
        ] {
            assert_eq!(say(line), r#"{"ok":true}"#, "{line}");
        }
        assert_eq!(answer(&peers, "toll a")["calls"], 0);
        assert!(say("health").ends_with("/health#/version\"}"));
        for line in ["", "night", "turn back", "plant {}", "manner Nobody {}", "manner Anna"] {
            assert!(answer(&peers, line)["error"].is_string(), "{line}");
        }
    }
}
