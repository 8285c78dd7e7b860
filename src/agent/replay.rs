//! Rebuilds a run from its steps.

use tokio::time::Instant;

use super::{Day, DayEnd, Limits, Step, TurnOpening};
use crate::{
    clients::claude::Reply,
    domain::{ModuleRating, Usd},
};

/// How many answers may be lost because a process died. At this number the run is closed with what it has.
const MAX_LOSSES: u32 = 2;

/// The state of a run, rebuilt from its steps.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The beginning of the main turn. `None` if the main turn has not begun.
    pub opened: Option<TurnOpening>,
    /// The main turn as it was after the last step. `None` if the main turn has not begun.
    pub day: Option<Day>,
    /// The end of the main turn. `None` if the main turn has not ended.
    pub ended: Option<DayEnd>,
    /// Steps of the rating turn: replies, and removals of thinking.
    pub rating: Vec<Step>,
    /// The rows of ratings. `None` if the rating turn has not ended.
    pub rated: Option<Vec<ModuleRating>>,
    /// The most that requests without an answer may have cost.
    pub lost: Usd,
    /// How many answers were lost because a process died.
    pub losses: u32,
    /// Ids of the sessions at mana-mcp that may still be open.
    pub sessions: Vec<String>,
    /// Whether a model request was under way when the last process died.
    pub lost_an_answer: bool,
    /// The money reserved for the model request that is under way. `None` if no request is under way.
    pub(super) asking: Option<Usd>,
}

impl Replay {
    /// Rebuilds the run from its steps, each with the time at which it was written. The main turn goes on
    /// within `limits`.
    pub(crate) fn of(steps: impl IntoIterator<Item = (Instant, Step)>, limits: Limits) -> Self {
        let mut replay = Self::default();
        for (at, step) in steps {
            replay.take(step, at);
        }
        replay.lost_an_answer = replay.asking.is_some();
        replay.lose_answer();
        if let Some(day) = &mut replay.day {
            day.conversation.resume(limits, replay.lost);
        }
        replay
    }

    /// The model's replies in the rating turn.
    pub(super) fn rating_replies(&self) -> impl Iterator<Item = &Reply> + Clone {
        self.rating.iter().filter_map(|step| match step {
            Step::Replied(reply) => Some(reply),
            _ => None,
        })
    }

    /// The cost of the run before this process.
    pub(crate) fn spent(&self) -> Usd {
        let day = self.day.as_ref().map_or(self.lost, |day| day.conversation.spent());
        day + self.rating_replies().map(|reply| reply.cost.total()).sum()
    }

    /// Whether so many answers were lost that the run must be closed with what it has.
    pub(crate) fn has_lost_enough(&self) -> bool {
        self.losses >= MAX_LOSSES
    }

    pub(super) fn take(&mut self, step: Step, at: Instant) {
        let is_day = self.ended.is_none();
        match step {
            Step::Opened(opened) => {
                // Limits are checked when all steps are applied and the cost is known ([`Self::of`]).
                self.day = Some(Day::new(&opened.opening, Limits::NONE));
                self.opened = Some(opened);
            }
            Step::Asking { reserved } => {
                self.lose_answer();
                self.asking = Some(reserved);
                if let Some(day) = self.day.as_mut().filter(|_| is_day) {
                    day.spent_before = day.conversation.spent() + self.lost;
                }
            }
            Step::Unanswered { lost } => {
                let reserved = self.asking.take().unwrap_or_default();
                self.lost += if lost { reserved } else { Usd::ZERO };
            }
            Step::DayEnded(end) => {
                self.lose_answer();
                self.ended = Some(end);
            }
            Step::SessionOpened { session } => self.sessions.push(session),
            Step::SessionsEnded => self.sessions.clear(),
            Step::Rated { rows } => self.rated = Some(rows),
            Step::Unrated { .. } => {}
            step => {
                if matches!(step, Step::Replied(_)) {
                    self.asking = None;
                }
                match &mut self.day {
                    Some(day) if is_day => day.take(step, at),
                    _ => self.rating.push(step),
                }
            }
        }
    }

    /// Counts the answer of the request under way as lost: the process died before it wrote a reply or an
    /// `Unanswered`.
    pub(super) fn lose_answer(&mut self) {
        if let Some(reserved) = self.asking.take() {
            self.lost += reserved;
            self.losses += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::agent::{call::CalledTool, day::CallState};

    #[test]
    fn earlier_calls_are_as_old_as_their_steps() {
        let start = Instant::now();
        let step = |second, json| {
            (start + Duration::from_secs(second), serde_json::from_value::<Step>(json).unwrap())
        };
        let calling = json!({"id": "toolu_1", "tool": {"listed": "habits.list"}});
        let called = |id: &str| {
            json!({"called": {"id": id, "content": [], "hints": [], "record": {
                "number": 1, "tool": {"listed": "habits.list"}, "input_hash": null, "error": null,
                "outcome_unknown": false, "excerpt": "", "latency": {"secs": 2, "nanos": 0}}}})
        };
        let steps = [
            step(0, json!({"opened": {"opening": "", "catalog": ""}})),
            step(10, json!({"calling": calling})),
            // The next process has written that the outcome of the call is unknown.
            step(90, called("toolu_1")),
            step(100, called("toolu_2")),
            step(110, json!({"calling": {"id": "toolu_3", "tool": {"listed": "habits.list"}}})),
        ];
        let day = Replay::of(steps, Limits::NONE).day.unwrap();
        let age = |id| match &day.under_way[id] {
            CallState::Called(called) => called.record.started - start,
            CallState::Calling(CalledTool::Listed(_), at) => *at - start,
            CallState::Calling(..) => panic!("{id}"),
        };
        assert_eq!(["toolu_1", "toolu_2", "toolu_3"].map(|id| age(id).as_secs()), [10, 98, 110]);
    }
}
