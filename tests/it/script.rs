//! Days that a test scripts, and what the peers received of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use devstack::{
    auth::ActionRow,
    claude::{ParsedRequest, Scripted},
    fault::Fault,
    mcp::{Behaviour, ToolSet},
    recorder::Recorded,
};
use serde_json::{Map, Value, json};

use crate::support::{Setup, World};

/// A read that changes nothing and needs no vault: the name in Claude's spelling, and an input.
pub(crate) fn habits_list() -> (&'static str, Value) {
    ("habits_list", json!({}))
}

/// A reply with exactly this content, in a form that a serializer need not produce.
pub(crate) fn raw(content: &str, stop_reason: Option<&str>) -> Scripted {
    Scripted::Message {
        content: content.to_owned(),
        stop_reason: stop_reason.map(str::to_owned),
        stop_details: Value::Null,
    }
}

/// A reply with exactly this content, this `usage` as JSON text, and this model.
pub(crate) fn billed(content: &str, stop_reason: &str, usage: &str, model: &str) -> Scripted {
    let body = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"{model}","content":{content},"stop_reason":"{stop_reason}","usage":{usage}}}"#
    );
    let headers = vec![("content-type", "application/json".to_owned())];
    Scripted::Raw { status: 200, headers, body }
}

/// The period of the cadence `daily`.
const DAY: Duration = Duration::from_secs(86_400);

/// A tick in which Claude gives these replies; after them the scripted persona answers.
pub(crate) async fn play(world: &World, replies: impl IntoIterator<Item = Scripted>) -> Value {
    replies.into_iter().for_each(|reply| world.peers.claude.enqueue(reply));
    world.tick().await
}

/// Like [`play`]; no run may fail.
pub(crate) async fn play_well(world: &World, replies: impl IntoIterator<Item = Scripted>) -> Value {
    let result = play(world, replies).await;
    assert_eq!((&result["failed"], &result["skipped"]), (&json!([]), &json!(0)), "{result}");
    result
}

/// Makes every persona due again one day later, as if it had never run.
pub(crate) async fn make_due(world: &World) {
    make_due_after(world, DAY).await;
}

/// Makes every persona due again after this time, as if it had never run.
pub(crate) async fn make_due_after(world: &World, time: Duration) {
    world.peers.clock.advance(time);
    for user in &world.users {
        world.peers.auth.set_last_active_at(user, None).await;
    }
}

/// The error of the only failed run of a tick.
pub(crate) fn only_failure(result: &Value) -> &str {
    let failed = result["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{result}");
    failed[0]["error"].as_str().unwrap()
}

/// The requests of main turns so far, in order of arrival.
pub(crate) fn main_requests(world: &World) -> Vec<ParsedRequest> {
    world.peers.claude.requests().into_iter().filter(|r| !r.is_rating()).collect()
}

/// The requests of rating turns so far.
pub(crate) fn rating_requests(world: &World) -> Vec<ParsedRequest> {
    world.peers.claude.requests().into_iter().filter(ParsedRequest::is_rating).collect()
}

/// The blocks of the last message of a request, without reminders: the results of a turn.
pub(crate) fn results(request: &ParsedRequest) -> Vec<Value> {
    let last = request.messages.iter().rfind(|message| message["role"] != "system").unwrap();
    assert_eq!(last["role"], "user");
    last["content"].as_array().unwrap().clone()
}

/// Tool name and result of each row.
pub(crate) fn outcomes(rows: &[ActionRow]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row.tool_name.as_str(), row.result.as_str())).collect()
}

/// The posts so far whose path has this end: `/actions` or `/feedback`.
pub(crate) fn posts(world: &World, path_end: &str) -> Vec<Recorded> {
    world.peers.auth.served.recorder.matching(|r| r.path().ends_with(path_end))
}

/// The requests to mana-mcp so far with this JSON-RPC method.
pub(crate) fn rpc(world: &World, method: &str) -> Vec<Recorded> {
    world.peers.mcp.served.recorder.matching(|r| r.json()["method"] == method)
}

/// Applies `fault` to the next `times` requests to mana-mcp with this JSON-RPC method.
pub(crate) fn spoil_rpc(world: &World, method: &'static str, times: usize, fault: Fault) {
    world.peers.mcp.served.faults.inject(times, fault, move |r| r.json()["method"] == method);
}

/// Makes mana-mcp answer this method with these results, one after another, as JSON.
pub(crate) fn answer_rpc(world: &World, method: &'static str, results: &[Value]) {
    let faults = &world.peers.mcp.served.faults;
    let answered = Arc::new(AtomicUsize::new(0));
    for (n, result) in results.iter().enumerate() {
        // The request's id is not known in advance, so an answer is planned for every possible id.
        for id in 0..64 {
            let body = json!({"jsonrpc": "2.0", "id": id, "result": result});
            let (answered, fault) = (answered.clone(), Fault::status(200, body.to_string()));
            faults.inject(1, fault, move |r| {
                let body = r.json();
                body["method"] == method
                    && body["id"] == id
                    && answered.compare_exchange(n, n + 1, SeqCst, SeqCst).is_ok()
            });
        }
    }
}

/// A schema that accepts any object.
pub(crate) fn anything() -> Map<String, Value> {
    json!({"type": "object"}).as_object().unwrap().clone()
}

/// Adds a tool for each of these behaviours, and returns their names in Claude's spelling.
///
/// If one tool had all behaviours, the order of arrival would decide which call meets which behaviour, and
/// reads of one reply may arrive in any order.
pub(crate) fn calls_that_meet(
    world: &World,
    behaviours: impl IntoIterator<Item = Behaviour>,
) -> Vec<String> {
    let add = |(n, behaviour)| {
        let tool = format!("t{n}.meets");
        world.peers.mcp.add_tool(&tool, "", anything());
        world.peers.mcp.override_tool(&tool, 1, behaviour);
        tool.replace('.', "_")
    };
    behaviours.into_iter().enumerate().map(add).collect()
}

/// Whether a request calls this tool.
pub(crate) fn calls_of(tool: &str) -> impl Fn(&Recorded) -> bool + Send + Sync + 'static {
    let tool = tool.to_owned();
    move |r| r.json()["method"] == "tools/call" && r.json()["params"]["name"] == tool
}

/// A refusal of the TypeScript transport: it has no request id.
pub(crate) fn null_id(status: u16) -> Fault {
    let error = json!({"code": -32000, "message": "Bad Request: not like this"});
    Fault::status(status, json!({"jsonrpc": "2.0", "error": error, "id": null}).to_string())
}

/// One persona and a mana-mcp without tools of its own.
pub(crate) async fn no_tools() -> World {
    Setup::one(&["habits"]).peers(|p| p.mcp.tools = ToolSet::Empty).start().await
}
