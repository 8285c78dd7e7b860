//! The messages of a request, with an additional cache marker in front of a long turn.
//!
//! The cache marker on the whole request counts as a marker on its last block. From a marker, the API looks
//! for cached content at most 20 blocks back (docs/contracts/anthropic-messages.md, section 5.1). A reply
//! with ten calls and their results has as many blocks. Without a marker nearer to the end of the cached
//! content, the whole history would be written to the cache again, at more than ten times the price of
//! reading it.
//!
//! If the turn before ended with a system message, the cached content ends after that message. The marker in
//! front of the message then only finds what was cached earlier, and one turn is written again. Another
//! marker for this case would be one more than the API allows.

use std::borrow::Cow;

use super::message::{Message, Role};

/// If a turn has this many blocks, the end of the turn before is out of reach for the marker on the request.
const OUT_OF_REACH: usize = 20;

/// The messages as they are sent, with the additional marker if the request is to be cached.
pub(super) fn sent(messages: &[Message], cached: bool) -> Vec<Cow<'_, Message>> {
    let mut sent: Vec<_> = messages.iter().map(Cow::Borrowed).collect();
    if let Some(index) = end_of_earlier_turn(messages).filter(|_| cached)
        && let Some(marked) = messages[index].marked()
    {
        sent[index] = Cow::Owned(marked);
    }
    sent
}

/// Index of the last user message before the latest turn, if that turn is a long one.
fn end_of_earlier_turn(messages: &[Message]) -> Option<usize> {
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

    /// The messages of a day as they are sent. `turns` has the number of calls of each turn.
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

    /// Indices of the messages whose last block has a marker.
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
        // The blocks are the reminder of the turn before, nine calls with their results, and another
        // reminder.
        assert_eq!(marked(&sent(&[2, 9], true)), [2]);
    }

    #[test]
    fn in_front_of_the_first_turn_the_marker_of_the_system_text_is_near() {
        assert_eq!(marked(&sent(&[40], false)), [0; 0]);
        assert_eq!(marked(&sent(&[], false)), [0; 0]);
    }
}
