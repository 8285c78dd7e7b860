//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it.

use super::{
    Scope, ToolHost,
    catalog::Catalog,
    conversation::Next,
    day::{Day, MainTurn},
    dispatch::Dispatcher,
    ended::{Closed, Ended},
    purse::Purse,
    reminder::{self, Reminder},
    step::{Recorder, Step},
};
use crate::{clients::claude::ClaudeClient, domain::Usd};

/// A main turn that was played.
#[derive(Debug)]
pub struct Played {
    /// What it came to.
    pub turn: MainTurn,
    /// Why it ended.
    pub ended: Ended,
    /// What gave cause for each reminder.
    pub reminders: Vec<&'static str>,
    /// Tools that Claude refused and that no run had met before.
    pub refused_tools: u64,
}

/// Plays a persona's day, or the rest of one: `system` is who it is.
pub async fn run_main_turn(
    claude: &ClaudeClient,
    tools: &impl ToolHost,
    mut catalog: Catalog,
    system: &str,
    mut day: Day,
    scope: &Scope,
    recorder: &impl Recorder,
) -> Played {
    let as_system = claude.takes_system_messages();
    let (mut reminders, mut refused_tools) = (Vec::new(), 0);
    let ended = loop {
        let purse = Purse { claude, catalog: &catalog, system };
        match day.conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel => {
                let spent = day.spent();
                let ask = purse.ask(&day, day.conversation.max_tokens);
                let reply = scope.ask(claude, ask, spent > Usd::ZERO, recorder).await;
                day.spent_before = spent;
                day.conversation.lost = recorder.lost();
                match reply {
                    Ok(reply) => day.conversation.record_reply(reply),
                    Err(ended) => {
                        let Some(step) = day.mend(&ended, &catalog) else { break ended };
                        recorder.note(&step).await;
                        if let Step::ToolLeftOut { tool } = &step {
                            refused_tools += u64::from(scope.left_out.refuse(tool));
                            catalog.leave_out(tool);
                        }
                    }
                }
            }
            Next::CallTools(_) => {
                let calls_before = day.calls.len();
                let dispatcher = Dispatcher { tools, catalog: &catalog, scope, recorder };
                if let Err(ended) = dispatcher.carry_out(&mut day).await {
                    break ended;
                }
                let (results, hints) = day.settle();
                let (mut reminder, mut cut) = (Reminder::default(), Vec::new());
                if day.conversation.limit_reached().is_none() {
                    reminder = reminder::remind(&day, calls_before, &hints);
                    let (text, left) = (reminder.text.as_deref(), recorder.left());
                    cut = purse.beyond(&day, &results, text, left);
                }
                let Reminder { producers, text: reminder } = reminder;
                reminders.extend(producers);
                day.tell(results, reminder.as_deref(), as_system, &cut);
                recorder.note(&Step::Told { reminder, as_system, cut }).await;
            }
        }
    };
    let cost = day.spent();
    match &ended {
        Ended::TooDear { most, .. } => {
            tracing::warn!(end = ?ended, %cost, %most, "the next request is too dear");
        }
        Ended::Closed(
            closed @ (Closed::UnknownStopReason
            | Closed::NoCall { .. }
            | Closed::PauseLimit
            | Closed::CostLimit
            | Closed::ContextLimit),
        ) => tracing::warn!(end = ?closed, %cost, "the day ended before its time"),
        _ => {}
    }
    Played { turn: day.close(&scope.redactor), ended, reminders, refused_tools }
}
