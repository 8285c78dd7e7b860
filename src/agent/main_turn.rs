//! The main turn, performed: Claude is asked and tools are called until the conversation ends or
//! something ends it, within the run's money: the rating's share is left alone, and results that there is no
//! money to send are cut.

use std::num::NonZeroU32;

use super::{
    Catalog, Closed, Day, Ended, MainTurn, Next, Recorder, Scope, Step, ToolHost,
    dispatch::Dispatcher,
    rating,
    reminder::{self, Reminder},
};
use crate::{
    clients::claude::{Ask, ClaudeClient, NotPaid, ToolResult, Weight},
    domain::Usd,
};

/// Output tokens that results are to leave room for.
const ROOM: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
/// What a message has beside its results, a cache marker included, in bytes.
const FRAME: u64 = 300;

/// A main turn that was played.
#[derive(Debug)]
pub(crate) struct Played {
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
pub(crate) async fn run_main_turn(
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
                recorder.defer(&Step::Told { reminder, as_system, cut }).await;
            }
        }
    };
    let cost = day.spent();
    match &ended {
        Ended::NotPaid { why: why @ NotPaid::TooDear { most, .. }, .. } => {
            tracing::warn!(end = ?why, %cost, %most, "the next request is too dear");
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

/// Prices what the main turn is about to send.
#[derive(Clone, Copy, Debug)]
struct Purse<'a> {
    claude: &'a ClaudeClient,
    catalog: &'a Catalog,
    /// Who the persona is.
    system: &'a str,
}

impl<'a> Purse<'a> {
    /// The day's next request, that leaves room for the rating of its calls.
    fn ask(&self, day: &'a Day, max_tokens: NonZeroU32) -> Ask<'a> {
        Ask {
            system: self.system,
            tools: Some(&self.catalog.definitions),
            messages: day.conversation.messages(),
            max_tokens,
            format: None,
            cached: true,
            spare: rating::most(self.claude, self.system, day),
        }
    }

    /// The places of the results that do not fit, in the order asked, where the run has so much left;
    /// none where leaving them out does not help.
    fn beyond(
        &self,
        day: &Day,
        results: &[ToolResult],
        reminder: Option<&str>,
        left: Usd,
    ) -> Vec<usize> {
        let ask = self.ask(day, NonZeroU32::MIN);
        let room = left.saturating_sub(ask.spare);
        let fits = |prompt: Weight| self.claude.most(prompt, ROOM) <= room;
        let said = reminder.map_or(0, |text| 2 * text.len() as u64);
        let history = self.claude.weigh(ask) + FRAME + said;
        let sum =
            |weigh: fn(&ToolResult) -> Weight| history + results.iter().map(weigh).sum::<Weight>();
        let mut shown = sum(|result| result.as_cut().weight());
        if fits(sum(ToolResult::weight)) || !fits(shown) {
            return Vec::new();
        }
        let mut beyond = Vec::new();
        for (index, result) in results.iter().enumerate() {
            match shown + result.weight() {
                with if fits(with) => shown = with,
                _ => beyond.push(index),
            }
        }
        beyond
    }
}
