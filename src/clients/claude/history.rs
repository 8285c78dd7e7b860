//! The messages of a request, with a cache marker of their own in front of a long turn.
//!
//! The marker on the whole request stands for one on its last block, from where the API looks for what it
//! has kept no further back than 20 blocks (docs/contracts/anthropic-messages.md, 5.1). A reply with ten
//! calls and their results is as long as that: without a marker nearer the old end, the whole history would
//! be written anew, at more than ten times the price of reading it.
//!
//! Where the turn before ended with a system message, what was kept lies behind that, and the marker in front of
//! it only helps with what was kept before: one turn is written once more. A marker for that, too, would be one
//! more than there may be.

use std::borrow::Cow;

use super::message::{Message, Role};

/// Blocks of a turn from which on the end of the one before is out of reach.
const OUT_OF_REACH: usize = 20;

/// These messages as they are sent, marked if they are to be `cached`.
pub(super) fn sent(messages: &[Message], cached: bool) -> Vec<Cow<'_, Message>> {
    let mut sent: Vec<_> = messages.iter().map(Cow::Borrowed).collect();
    if let Some(index) = end_of_earlier(messages).filter(|_| cached)
        && let Some(marked) = messages[index].marked()
    {
        sent[index] = Cow::Owned(marked);
    }
    sent
}

/// The last message of the user's before the latest turn, if that is a long one.
fn end_of_earlier(messages: &[Message]) -> Option<usize> {
    let replied = messages.iter().rposition(|message| message.role == Role::Assistant)?;
    let index = messages[..replied].iter().rposition(|message| message.role == Role::User)?;
    let appended: usize = messages[index + 1..].iter().map(|message| message.blocks).sum();
    (appended >= OUT_OF_REACH).then_some(index)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;
    use crate::clients::claude::ToolResult;

    /// A day of turns with so many calls each, as it is sent.
    fn sent(turns: &[usize], reminded: bool) -> Vec<Value> {
        let mut messages = vec![Message::user("Guten Morgen!")];
        for calls in turns {
            let call = json!({"type": "tool_use", "id": "t", "name": "n", "input": {}});
            let reply = json!(vec![call; *calls]).to_string();
            messages.extend(Message::assistant(&RawValue::from_string(reply).unwrap(), &[]));
            let result =
                || ToolResult { tool_use_id: "t".into(), content: vec![], is_error: false };
            let results: Vec<_> = (0..*calls).map(|_| result()).collect();
            messages.push(Message::tool_results(&results, None));
            if reminded {
                messages.push(Message::system("Denk daran."));
            }
        }
        let plain = serde_json::to_value(&messages).unwrap();
        assert_eq!(serde_json::to_value(super::sent(&messages, false)).unwrap(), plain);
        match serde_json::to_value(super::sent(&messages, true)).unwrap() {
            Value::Array(sent) => sent,
            other => panic!("{other}"),
        }
    }

    /// The places of messages whose last block carries a marker.
    fn marked(messages: &[Value]) -> Vec<usize> {
        let is_marked = |message: &Value| {
            let blocks = message["content"].as_array();
            blocks.and_then(|b| b.last()).is_some_and(|b| b["cache_control"]["type"] == "ephemeral")
        };
        (0..messages.len()).filter(|n| is_marked(&messages[*n])).collect()
    }

    #[test]
    fn the_end_of_the_turn_before_a_long_one_is_marked() {
        assert_eq!(marked(&sent(&[2, 9], false)), [0; 0]);
        assert_eq!(marked(&sent(&[2, 10], false)), [2]);
        assert_eq!(marked(&sent(&[2, 10, 1], false)), [0; 0], "it has done what it was for");
        assert_eq!(marked(&sent(&[1, 30, 12], false)), [4]);
    }

    #[test]
    fn reminders_count_and_are_left_out() {
        // The one of the turn before, nine calls with their results, and another one.
        assert_eq!(marked(&sent(&[2, 9], true)), [2]);
    }

    #[test]
    fn in_front_of_the_first_turn_the_marker_of_the_system_text_is_near() {
        assert_eq!(marked(&sent(&[40], false)), [0; 0]);
        assert_eq!(marked(&sent(&[], false)), [0; 0]);
    }
}
