use std::sync::Arc;

use super::*;
use crate::{
    clients::claude::bills::MOST_TOKENS, http::HttpClient, metrics::Metrics, pricing::Pricing,
};

const MOST: Tokens =
    Tokens { input: 0, output: 8_192, cache_read: 0, cache_write_5m: 5_000, cache_write_1h: 0 };

fn read(model: &str, body: &[u8]) -> serde_json::Result<Reply> {
    let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), Redactor::default()).unwrap();
    let bills = Bills::new(model.to_owned(), Pricing::load(None, model).unwrap(), http);
    Reply::parse(body, &bills, &MOST)
}

fn parse(body: &[u8]) -> serde_json::Result<Reply> {
    read("claude-haiku-5-5", body)
}

fn reply(content: &str, stop_reason: &str) -> serde_json::Result<Reply> {
    let usage = r#"{"input_tokens":12,"output_tokens":3,"cache_read_input_tokens":null}"#;
    parse(
        format!(r#"{{"content":{content},"stop_reason":{stop_reason},"usage":{usage},"x":1}}"#)
            .as_bytes(),
    )
}

/// A reply with one short text, with this usage and from this model.
fn billed(usage: &str, model: &str) -> Reply {
    let content = r#"[{"type":"text","text":"Gut."}]"#;
    let body = format!(r#"{{"content":{content},"usage":{usage},"model":{model}}}"#);
    read("claude-haiku-5-5", body.as_bytes()).unwrap()
}

#[test]
fn a_reply_without_valid_usage_is_booked_as_what_was_reserved() {
    for usage in [
        "null",
        "[]",
        "\"none\"",
        "{}",
        r#"{"input_tokens":12}"#,
        r#"{"output_tokens":12}"#,
        r#"{"input_tokens":"12","output_tokens":3}"#,
        r#"{"input_tokens":12,"output_tokens":"3"}"#,
        r#"{"input_tokens":12.5,"output_tokens":3}"#,
        r#"{"input_tokens":-12,"output_tokens":3}"#,
        r#"{"input_tokens":12,"output_tokens":-3}"#,
        r#"{"input_tokens":null,"output_tokens":3}"#,
        r#"{"input_tokens":true,"output_tokens":3}"#,
        r#"{"input_tokens":12,"output_tokens":3,"cache_read_input_tokens":"9"}"#,
        r#"{"input_tokens":12,"output_tokens":3,"cache_creation_input_tokens":-1}"#,
        r#"{"input_tokens":12,"output_tokens":3,"cache_creation":7}"#,
        r#"{"input_tokens":12,"output_tokens":3,"cache_creation":{"ephemeral_1h_input_tokens":0.5}}"#,
        r#"{"input_tokens":0,"output_tokens":3}"#,
        r#"{"input_tokens":12,"output_tokens":0}"#,
        r#"{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0}"#,
    ] {
        let reply = billed(usage, "null");
        assert!(reply.is_guessed, "{usage}");
        let reserved = Pricing::load(None, "claude-haiku-5-5").unwrap().cost(&MOST);
        assert_eq!((reply.usage, reply.cost), (MOST, reserved), "{usage}");
    }
    for usage in [
        r#"{"input_tokens":1,"output_tokens":1}"#,
        r#"{"input_tokens":0,"output_tokens":1,"cache_read_input_tokens":9,"server_tool_use":"?"}"#,
    ] {
        assert!(!billed(usage, "null").is_guessed, "{usage}");
    }
    let nothing = r#"{"content":[],"usage":{"input_tokens":0,"output_tokens":0}}"#;
    let nothing = read("claude-haiku-5-5", nothing.as_bytes()).unwrap();
    assert_eq!((nothing.is_guessed, nothing.cost), (false, Cost::default()));
}

#[test]
fn tokens_written_to_the_cache_count_by_their_parts_if_the_sum_is_missing_or_smaller() {
    let written = |sum: &str, parts: &str| {
        let counts = r#""input_tokens":1,"output_tokens":1"#;
        let usage = billed(&format!("{{{counts}{sum},\"cache_creation\":{parts}}}"), "null").usage;
        (usage.cache_write_5m, usage.cache_write_1h)
    };
    let parts = r#"{"ephemeral_5m_input_tokens":700,"ephemeral_1h_input_tokens":200}"#;
    assert_eq!(written("", parts), (700, 200));
    assert_eq!(written(",\"cache_creation_input_tokens\":null", parts), (700, 200));
    assert_eq!(written(",\"cache_creation_input_tokens\":0", parts), (700, 200));
    assert_eq!(written(",\"cache_creation_input_tokens\":1000", parts), (800, 200));
    assert_eq!(written(",\"cache_creation_input_tokens\":1000", "null"), (1_000, 0));
}

#[test]
fn an_answer_of_another_model_has_the_higher_of_both_prices() {
    let usage = r#"{"input_tokens":1000000,"output_tokens":1}"#;
    let cost = |model: &str| billed(usage, &format!("\"{model}\"")).cost.input.dollars();
    // A prompt of this length has the second of the model's prices.
    for same in ["claude-haiku-5-5", "claude-haiku-5-5-20261001", "anthropic/claude-haiku-5-5", ""]
    {
        assert_eq!(cost(same), 0.5, "{same}");
    }
    assert_eq!(cost("claude-opus-5-5"), 4.0);
    assert_eq!(cost("claude-of-tomorrow"), 4.0, "as the dearest");
    let cheaper = format!(r#"{{"content":[],"usage":{usage},"model":"claude-haiku-5-5"}}"#);
    let cheaper = read("claude-opus-5-5", cheaper.as_bytes()).unwrap();
    assert_eq!(cheaper.cost.input.dollars(), 4.0);
}

#[test]
fn calls_get_the_ids_and_inputs_they_lack() {
    let call = |id: &str, rest: &str| format!(r#"{{"type":"tool_use"{id}{rest}}}"#);
    let (a, name) = (r#","id":"a""#, r#","name":"n","input":{}"#);
    let content = [
        call(a, name),
        call(a, name),
        call("", name),
        call(r#","id":"x.y:0""#, name),
        call(r#","id":7"#, r#","name":null"#),
        call(r#","id":"b""#, r#","name":"n","input":null"#),
        call(r#","id":"c""#, r#","name":"n","input":[1]"#),
    ];
    let reply = reply(&format!("[{}]", content.join(",")), "\"end_turn\"").unwrap();
    let mut known = HashSet::from(["b".to_owned()]);
    let calls = reply.calls(&mut known);
    let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["a", "a_2", "call", "x_y_0", "call_5", "b_6", "c"]);
    let inputs: Vec<_> = calls.iter().map(|call| call.input.get()).collect();
    assert_eq!(inputs, ["{}", "{}", "{}", "{}", "{}", "{}", "[1]"]);
    assert_eq!(calls[4].name, "");
    assert_eq!(reply.calls(&mut HashSet::from(["b".to_owned()])).len(), 7, "again the same");
    let cut = Reply { stop_reason: StopReason::MaxTokens, ..reply };
    assert!(cut.calls(&mut known).is_empty());
}

#[test]
fn a_repaired_id_is_none_of_the_other_ids_of_the_reply() {
    let call = |id| format!(r#"{{"type":"tool_use","id":"{id}","name":"n","input":{{}}}}"#);
    let content = ["", "call", "x.y", "x_y", "a", "a", "a_5"].map(call).join(",");
    let reply = reply(&format!("[{content}]"), "\"tool_use\"").unwrap();
    let calls = reply.calls(&mut HashSet::new());
    let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_0", "call", "x_y_2", "x_y", "a", "a_5_5", "a_5"]);
}

#[test]
fn content_is_kept_as_bytes_and_viewed_by_type() {
    let content = r#"[{"type":"thinking","thinking":"","signature":"S"},
        {"type":"text","text":" Hallo ","citations":null}, {"type":"from_the_future","a":[1]},
        {"type":"tool_use","id":"t1","name":"todo_list","input":{"b":1.0, "a":2},"caller":{}}]"#;
    let reply = reply(content, "\"tool_use\"").unwrap();
    assert_eq!(reply.content.get(), content);
    assert_eq!(reply.text(), "Hallo");
    let calls: Vec<_> = reply.tool_uses().collect();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].id.as_str(), calls[0].name.as_str()), ("t1", "todo_list"));
    assert_eq!(calls[0].input.get(), r#"{"b":1.0, "a":2}"#);
    assert!(matches!(reply.blocks[3], Block::ToolUse(_)));
    assert_eq!((reply.usage.input, reply.usage.output, reply.usage.cache_read), (12, 3, 0));
}

#[test]
fn a_reply_is_the_same_after_it_was_stored() {
    let content = r#"[{"type":"thinking","signature":"S=="}, {"type":"tool_use",
        "id":"t1","name":"todo_list","input":{"b":1.0,"a":"\u0000"}}]"#;
    let reply = reply(content, "\"tool_use\"").unwrap();
    let stored = serde_json::to_string(&reply).unwrap();
    let again: Reply = serde_json::from_str(&stored).unwrap();
    assert_eq!(again.content.get(), content);
    assert_eq!(again.stop_reason, StopReason::ToolUse);
    assert_eq!((again.usage, again.cost), (reply.usage, reply.cost));
    assert_eq!(again.tool_uses().count(), 1);
}

#[test]
fn an_invalid_text_or_input_is_repaired_and_the_hash_is_that_of_the_received_input() {
    let content = r#"[{"type":"text","text":"a\ud83d"},{"type":"tool_use","id":"t1","name":"n",
        "input":{"t":"\ud83d"}},{"type":"tool_use","id":"t2","name":"n","input":{"n":1e400}},
        {"type":"tool_use","id":"t3","name":"n","input":{}}]"#;
    let reply = reply(content, "\"tool_use\"").unwrap();
    assert_eq!(reply.text(), "a\u{fffd}");
    let again: Reply = serde_json::from_str(&serde_json::to_string(&reply).unwrap()).unwrap();
    // A reply as an earlier version stored it, unrepaired.
    let kept = format!(
        r#"{{"content":{content},"stop_reason":"tool_use","refusal":null,"usage":{},"cost":{}}}"#,
        serde_json::to_string(&reply.usage).unwrap(),
        serde_json::to_string(&reply.cost).unwrap()
    );
    let kept: Reply = serde_json::from_str(&kept).unwrap();
    for reply in [&reply, &again, &kept] {
        let calls: Vec<_> = reply.tool_uses().collect();
        let inputs: Vec<_> = calls.iter().map(|call| call.input.get()).collect();
        assert_eq!(inputs, [r#"{"t":"\ufffd"}"#, r#"{"n":null}"#, "{}"]);
        let hashes: Vec<_> =
            calls.iter().map(|call| call.input_hash().unwrap().as_str().to_owned()).collect();
        // The hashes that Node computes for the inputs as they were received.
        assert_eq!(hashes, ["3c265f4d42b969ac", "5b4da02351c1c209", "44136fa355b3678a"]);
        let lossy: Vec<_> = calls.iter().map(|call| call.is_lossy()).collect();
        assert_eq!(lossy, [false, true, false]);
    }
}

#[test]
fn invalid_fields_beside_the_content_do_not_invalidate_a_paid_reply() {
    let body = r#"{"content":[],"stop_reason":17,"stop_details":"none","model":[],"usage":{
        "input_tokens":1,"output_tokens":2,"cache_read_input_tokens":null,"speed":7}}"#;
    let reply = parse(body.as_bytes()).unwrap();
    assert_eq!((reply.usage.prompt(), reply.refusal), (1, None));
    assert_eq!(reply.stop_reason, StopReason::Unknown);
}

#[test]
fn impossible_numbers_of_tokens_are_cut() {
    let body = format!(
        r#"{{"content":[],"stop_reason":"end_turn","usage":{{"input_tokens":{0},
        "output_tokens":{0},"cache_read_input_tokens":{0},"cache_creation_input_tokens":{0}}}}}"#,
        u64::MAX
    );
    let reply = parse(body.as_bytes()).unwrap();
    assert_eq!((reply.usage.input, reply.usage.prompt()), (MOST_TOKENS, 3 * MOST_TOKENS));
    // The sum of thousands of such replies is still a number that the journal can store.
    let most = reply.cost.total().picodollars().saturating_mul(1_000);
    assert!(i64::try_from(most).is_ok(), "{most}");
}

#[test]
fn every_stop_reason_is_known_or_unknown() {
    for name in [
        "end_turn",
        "tool_use",
        "max_tokens",
        "stop_sequence",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    ] {
        let reason = reply("[]", &format!("\"{name}\"")).unwrap().stop_reason;
        assert_eq!(reason.as_str(), name);
    }
    for unknown in ["null", "\"compaction\"", "\"\""] {
        assert_eq!(reply("[]", unknown).unwrap().stop_reason, StopReason::Unknown);
    }
}

#[test]
fn an_answer_that_is_no_message_is_an_error_and_an_invalid_block_is_not() {
    for content in ["null", "{}", "\"Gut.\"", "7"] {
        assert!(reply(content, "\"end_turn\"").is_err(), "{content}");
    }
    assert!(parse(b"<html>").is_err());
    assert!(parse(br#"{"stop_reason":"end_turn"}"#).is_err());
    for odd in
        ["1", "null", "{}", r#"{"type":"text"}"#, r#"{"type":"text","text":7}"#, r#"{"type":7}"#]
    {
        let content = format!(r#"[{odd},{{"type":"text","text":"a","text":"Gut."}}]"#);
        let reply = reply(&content, "\"end_turn\"").unwrap();
        assert_eq!((reply.text().as_str(), reply.content.get()), ("Gut.", content.as_str()));
    }
}

#[test]
fn secrets_are_removed_from_the_models_text_and_not_from_the_structure() {
    let content = r#"[ {"type":"tool_use","id":"toolu_1","name":"todo_create",
        "input":{"s3cret-pw":"s3cret-pw","n":[1.0,"text"]}},{"type":"text","text":"a\u00fc s3cret-pw"} ]"#;
    let reply = reply(content, "\"tool_use\"").unwrap();
    for other in ["toolu_1", "todo_create", "tool_use", "elsewhere"] {
        let redacted = reply.redacted(&Redactor::new([other]));
        assert_eq!(redacted.content.get(), content, "{other}");
    }
    let redacted = reply.redacted(&Redactor::new(["s3cret-pw"]));
    assert_eq!(
        redacted.content.get(),
        r#"[{"type":"tool_use","id":"toolu_1","name":"todo_create","input":{"s3cret-pw":"[redacted]","n":[1.0,"text"]}},{"type":"text","text":"aü [redacted]"}]"#
    );
}
