//! Why a tool call failed: decided from the error where its kind is known, and from its text for calls of
//! earlier versions, which did not store the cause.

use super::{
    CallRecord, CalledTool, ToolError,
    call::{NO_OBJECT, NO_SUCH_TOOL, UNKNOWN, UNREADABLE_INPUT},
    policy::Objection,
};
use crate::{
    clients::mcp::{Fate, McpError},
    domain::{Cause, Label},
    facts::{code_of, rejected_fields},
};

/// How the server's SDK begins some of its error texts (docs/contracts/mana-mcp.md).
const SDK: &str = "MCP error -32602: ";
/// How the server's validation of inputs begins its error texts.
const INVALID: [&str; 2] = ["Input validation error", "Invalid arguments for tool "];
/// How the server's policy begins its error texts.
const DENIED: &str = "Policy denied ";
/// How [`crate::clients::mcp`] begins the reason of a refusal by JSON-RPC.
const RPC: &str = "JSON-RPC error ";
/// The ends of error texts of calls that were given up, as versions before wrote them.
const GIVEN_UP: [&str; 2] = ["the run's time was up", "the runner was stopped"];

/// Why a call of the tool `name` has no result.
pub(super) fn of_error(error: &ToolError, name: &str) -> Cause {
    let ToolError::Call(McpError { fate, reason, status }) = error else {
        return match error {
            ToolError::Vanished => Cause::Vanished,
            _ => Cause::Unreachable,
        };
    };
    match fate {
        Fate::Rejected => of_rejection(reason, name),
        Fate::Unknown | Fate::Unanswered if status.is_some_and(|code| code >= 500) => {
            Cause::Unreachable
        }
        Fate::Unknown | Fate::Unanswered | Fate::Oversized => Cause::Cut,
        Fate::NotRun | Fate::Busy(_) | Fate::Away => Cause::Unreachable,
        Fate::SessionLost | Fate::Unauthorized | Fate::NoTools => Cause::Unreachable,
    }
}

/// Why the tool `name` answered with the error `text`.
pub(super) fn of_output(text: &str, name: &str) -> Cause {
    of_known_form(text, name).unwrap_or(match code_of(text) {
        Some(_) => Cause::Coded,
        None if !rejected_fields(text).is_empty() => Cause::RejectedInput,
        None => Cause::Handler,
    })
}

/// Why a call of an earlier version failed with the error `text`.
pub(super) fn of_record(record: &CallRecord, text: &str) -> Cause {
    let CalledTool::Listed(name) = &record.tool else { return Cause::Invented };
    let name = name.as_str();
    if text == NO_SUCH_TOOL {
        return Cause::Invented;
    }
    if text == UNREADABLE_INPUT || text == NO_OBJECT {
        return Cause::BadJson;
    }
    if let Some(why) = text.strip_prefix("Not run: ") {
        let is_denied = Objection::ALL.iter().any(|rule| why.starts_with(rule.as_str()));
        return if is_denied { Cause::RunnerPolicy } else { of_output(text, name) };
    }
    if text == UNKNOWN {
        return Cause::Stopped;
    }
    if let Some(why) = text.strip_prefix("outcome unknown: ") {
        let is_given_up = GIVEN_UP.iter().any(|end| why.starts_with(end));
        return if is_given_up { Cause::Stopped } else { of_silence(why) };
    }
    if let Some(why) = text.strip_prefix("not run: ") {
        let has_vanished = why.starts_with("mana-mcp no longer offers this tool");
        return if has_vanished { Cause::Vanished } else { Cause::Unreachable };
    }
    let is_unanswered = text.ends_with("(asked once).") || text.ends_with("(asked twice).");
    if is_unanswered || text.starts_with("the answer of mana-mcp is longer than ") {
        return of_silence(text);
    }
    if text.starts_with(RPC) { of_rejection(text, name) } else { of_output(text, name) }
}

/// Whether a call of an earlier version certainly did not run, as its error text says.
pub(super) fn was_not_run(record: &CallRecord) -> bool {
    let begins = |text: &str| text.starts_with("not run: ") || text.starts_with("Not run: ");
    let is_listed = matches!(record.tool, CalledTool::Listed(_));
    !is_listed || record.error.as_deref().is_some_and(begins)
}

/// The cause that the status in the reason of a call without an answer shows.
fn of_silence(reason: &str) -> Cause {
    if reason.starts_with("mana-mcp answered 5") { Cause::Unreachable } else { Cause::Cut }
}

/// Why the server refused a call of the tool `name` with a JSON-RPC error.
fn of_rejection(reason: &str, name: &str) -> Cause {
    let message = reason.strip_prefix(RPC).and_then(|rest| rest.split_once(": "));
    let message = message.map_or(reason, |(_code, message)| message);
    of_known_form(message, name).unwrap_or(Cause::Rpc)
}

/// The cause of an error text that the server itself writes, not one of its tools.
fn of_known_form(text: &str, name: &str) -> Option<Cause> {
    let text = text.trim_start();
    let text = text.strip_prefix(SDK).unwrap_or(text);
    if INVALID.iter().any(|begin| text.starts_with(begin)) {
        return Some(Cause::RejectedInput);
    }
    let is_of_policy = |rule: &Objection| text.starts_with(rule.as_str());
    if text.starts_with(DENIED) || Objection::ALL.iter().any(is_of_policy) {
        return Some(Cause::ServerPolicy);
    }
    let missing = text.strip_prefix("Tool ").and_then(|rest| rest.strip_prefix(name));
    missing.is_some_and(|rest| rest.starts_with(" not found")).then_some(Cause::Vanished)
}
