//! The lifetime of cache entries, with a clock that the tests move.

use std::time::Duration;

use serde_json::Value;

use super::{super::fixture::Client, for_an_hour, persona};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_entry_is_gone_after_five_minutes_unless_it_is_used() {
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    for _ in 0..3 {
        client.clock.advance(5 * MINUTE - SECOND);
        assert_eq!(client.spends(persona("Anna")).await, (0, 0, 900), "refreshed by each hit");
    }
    client.clock.advance(5 * MINUTE);
    assert_eq!(client.spends(persona("Anna")).await, (0, 900, 0));
}

#[tokio::test]
async fn only_entries_that_are_read_get_a_new_lifetime() {
    let client = Client::start().await;
    client.accepts(persona("Anna")).await;
    client.clock.advance(4 * MINUTE);
    assert_eq!(client.spends(persona("Ben")).await, (0, 300, 600));
    client.clock.advance(2 * MINUTE);
    // Ben's request kept the tools alive; Anna's own prefix has expired.
    assert_eq!(client.spends(persona("Anna")).await, (0, 300, 600));
    assert_eq!(client.spends(persona("Ben")).await, (0, 0, 900));
}

#[tokio::test]
async fn the_time_runs_from_the_start_of_the_request_however_long_its_answer_takes() {
    let client = Client::start().await;
    let clock = client.clock.clone();
    // The rule is called while the answer is being made.
    client.claude.answer_with(move |request| {
        if request.system.starts_with("Anna") {
            clock.advance(4 * MINUTE);
        }
        None
    });
    client.accepts(persona("Anna")).await;
    client.clock.advance(MINUTE - SECOND);
    assert_eq!(client.spends(persona("Ben")).await, (0, 300, 600));
    assert_eq!(client.spends(persona("Anna")).await, (0, 0, 900), "read before its five minutes");
    client.clock.advance(MINUTE);
    assert_eq!(client.spends(persona("Anna")).await, (0, 900, 0), "five minutes after that start");
}

fn with_tools_for_an_hour(name: &str) -> Value {
    let mut body = persona(name);
    body["tools"][1]["cache_control"] = for_an_hour();
    body
}

#[tokio::test]
async fn one_hour_writes_are_reported_separately_and_live_for_an_hour() {
    let client = Client::start().await;
    let first = client.accepts(with_tools_for_an_hour("Anna")).await;
    let split = &first.json["usage"]["cache_creation"];
    assert_eq!(split["ephemeral_1h_input_tokens"], 600);
    assert_eq!(split["ephemeral_5m_input_tokens"], 300);
    for _ in 0..2 {
        client.clock.advance(59 * MINUTE);
        assert_eq!(client.spends(with_tools_for_an_hour("Anna")).await, (0, 300, 600));
    }
    client.clock.advance(60 * MINUTE);
    assert_eq!(client.spends(with_tools_for_an_hour("Anna")).await, (0, 900, 0));
}
