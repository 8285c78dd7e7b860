//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it.

use std::num::NonZeroU32;

use super::{
    Scope, ToolHost,
    catalog::Catalog,
    conversation::Next,
    day::{self, Day, MainTurn},
    dispatch::Dispatcher,
    ended::{Closed, Ended},
    purse::Purse,
    reminder::{self, Snapshot},
    step::{Recorder, Step},
};
use crate::clients::claude::ClaudeClient;

/// Plays a persona's day, or the rest of one: `system` is who it is.
pub async fn run_main_turn(
    claude: &ClaudeClient,
    tools: &impl ToolHost,
    catalog: Catalog,
    system: &str,
    day: Day,
    scope: &Scope,
    recorder: &impl Recorder,
) -> MainTurn {
    let Day { mut conversation, calls, earlier, mut spent_before, attached, .. } = day;
    let mut dispatcher =
        Dispatcher::new(tools, catalog, scope, recorder).after(calls, earlier, attached);
    let (mut reminders, mut refused_tools) = (Vec::new(), 0);
    let ended = loop {
        match conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel { max_tokens } => {
                spent_before = conversation.spent();
                let purse = Purse { claude, catalog: &dispatcher.catalog, system };
                let (messages, words) = (conversation.messages(), conversation.closing_words());
                let ask = purse.ask(messages, max_tokens, &dispatcher.calls, words);
                let reply = scope.ask(claude, ask, recorder).await;
                conversation.note_lost(recorder.lost());
                match reply {
                    Ok(reply) => conversation.record_reply(reply),
                    Err(ended) => match ended
                        .bad_request()
                        .and_then(|error| conversation.mend(error, &dispatcher.catalog))
                    {
                        Some(step) => {
                            recorder.note(&step).await;
                            if let Step::ToolLeftOut { tool } = &step {
                                refused_tools += u64::from(scope.left_out.refuse(tool));
                            }
                            dispatcher.take_out(&step);
                        }
                        None => break ended.after(conversation.spent()),
                    },
                }
            }
            Next::CallTools(asked) => {
                let asked = asked.to_vec();
                let calls_before = dispatcher.calls.len();
                let mut turn = match dispatcher.carry_out(&asked).await {
                    Ok(turn) => turn,
                    Err(ended) => break ended,
                };
                let told = if conversation.goes_on() {
                    reminder::remind(&Snapshot {
                        turn: conversation.replies(),
                        max_turns: scope.limits.max_replies,
                        calls_before,
                        calls: dispatcher.calls.len(),
                        last_failed: &dispatcher.last_failed(),
                        cost_before: spent_before,
                        cost: conversation.spent(),
                        max_cost: scope.limits.max_cost,
                        gate: &turn.hints,
                    })
                } else {
                    Vec::new()
                };
                let text = reminder::wrap(&told);
                reminders.extend(told.iter().map(|reminder| reminder.producer));
                let as_system = claude.takes_system_messages();
                let mut cut = Vec::new();
                if conversation.goes_on() {
                    let purse = Purse { claude, catalog: &dispatcher.catalog, system };
                    let (messages, words) = (conversation.messages(), conversation.closing_words());
                    let ask = purse.ask(messages, NonZeroU32::MIN, &dispatcher.calls, words);
                    let left = recorder.left();
                    cut = purse.beyond(ask, &turn.results, text.as_deref(), left);
                }
                day::cut(&mut turn.results, &cut);
                conversation.record_results(&turn.results, text.as_deref(), as_system);
                recorder.note(&Step::Told { reminder: text, as_system, cut }).await;
            }
        }
    };
    if let Ended::TooDear { most, .. } = &ended {
        tracing::warn!(end = ?ended, cost = %conversation.spent(), %most, "the next request is too dear");
    }
    if let Ended::Closed(
        closed @ (Closed::UnknownStopReason
        | Closed::NoCall { .. }
        | Closed::PauseLimit
        | Closed::CostLimit
        | Closed::ContextLimit),
    ) = &ended
    {
        tracing::warn!(end = ?closed, cost = %conversation.spent(), "the day ended before its time");
    }
    MainTurn {
        calls: dispatcher.calls,
        ended,
        closing_words: scope.redactor.redact(conversation.closing_words()).into_owned(),
        replies: conversation.replies(),
        spent: conversation.spent(),
        reminders,
        refused_tools,
    }
}
