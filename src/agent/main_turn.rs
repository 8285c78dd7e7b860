//! Plays the main turn: asks Claude and calls tools until the conversation ends or is ended from outside.
//!
//! The turn stays within the run's money. It leaves enough money for the rating turn, and it cuts results
//! that the run has no money to send.

use std::num::NonZeroU32;

use super::{
    Catalog, Closed, Day, Ended, MainTurn, Next, Recorder, Scope, Step, ToolHost,
    dispatch::Dispatcher, rating, reminder,
};
use crate::{
    clients::claude::{Ask, ClaudeClient, NotPaid, ToolResult, Weight},
    domain::Usd,
};

/// How many output tokens of the next reply the run must still be able to pay after the results are sent. If
/// the money is not enough, results are cut.
const ROOM: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
/// Bytes of a message without its results, a cache marker included.
const FRAME: u64 = 300;

/// The outcome of a main turn that was played.
#[derive(Debug)]
pub(crate) struct Played {
    pub turn: MainTurn,
    pub ended: Ended,
    /// The cause of each reminder, as metric labels.
    pub reminders: Vec<&'static str>,
    /// How many tools Claude refused for the first time in this process.
    pub refused_tools: u64,
}

/// Plays a persona's day, or the rest of a resumed day. `system` is the system prompt, which describes the
/// persona.
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
    // The cost of a rating, which is the same from the results of a turn to the next request.
    let mut spare = None;
    let ended = loop {
        let purse = Purse { claude, catalog: &catalog, system };
        match day.conversation.next() {
            Next::Done(closed) => break Ended::Closed(closed.clone()),
            Next::AskModel => {
                let spent = day.conversation.spent();
                let spare = spare.take().unwrap_or_else(|| purse.spare(&day));
                let ask = purse.ask(&day, day.conversation.max_tokens, spare);
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
                let (mut producers, mut reminder, mut cut) = Default::default();
                if day.conversation.limit_reached().is_none() {
                    (producers, reminder) = reminder::remind(&day, calls_before, &hints);
                    let room = recorder.left().saturating_sub(*spare.insert(purse.spare(&day)));
                    cut = purse.unaffordable(&day, &results, reminder.as_deref(), room);
                }
                reminders.extend(producers);
                day.record_results(results, reminder.as_deref(), as_system, &cut);
                recorder.defer(&Step::Told { reminder, as_system, cut }).await;
            }
        }
    };
    let cost = day.conversation.spent();
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

/// Prices the requests of the main turn.
#[derive(Clone, Copy, Debug)]
struct Purse<'a> {
    claude: &'a ClaudeClient,
    catalog: &'a Catalog,
    system: &'a str,
}

impl<'a> Purse<'a> {
    /// The money that the rating of the day's calls needs.
    fn spare(&self, day: &Day) -> Usd {
        rating::max_cost(self.claude, self.system, day)
    }

    /// The day's next request.
    fn ask(&self, day: &'a Day, max_tokens: NonZeroU32, spare: Usd) -> Ask<'a> {
        Ask {
            system: self.system,
            tools: Some(&self.catalog.definitions),
            messages: day.conversation.messages(),
            max_tokens,
            format: None,
            cached: true,
            spare,
        }
    }

    /// The indices of the results that cost more than the run can spend, if `room` is the money that is
    /// left for the next request. Results are kept in their order as long as there is money. Empty if cutting results does not
    /// help.
    fn unaffordable(
        &self,
        day: &Day,
        results: &[ToolResult],
        reminder: Option<&str>,
        room: Usd,
    ) -> Vec<usize> {
        let ask = self.ask(day, NonZeroU32::MIN, Usd::ZERO);
        let fits = |prompt: Weight| self.claude.most(prompt, ROOM) <= room;
        let reminder = reminder.map_or(0, |text| 2 * text.len() as u64);
        let history = self.claude.weigh(ask) + FRAME + reminder;
        let sum =
            |weigh: fn(&ToolResult) -> Weight| history + results.iter().map(weigh).sum::<Weight>();
        let mut shown = sum(|result| result.as_cut().weight());
        if fits(sum(ToolResult::weight)) || !fits(shown) {
            return Vec::new();
        }
        let mut cut = Vec::new();
        for (index, result) in results.iter().enumerate() {
            match shown + result.weight() {
                with if fits(with) => shown = with,
                _ => cut.push(index),
            }
        }
        cut
    }
}
