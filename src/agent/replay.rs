//! A run rebuilt from its steps.

use tokio::time::Instant;

use super::{Day, DayEnd, Limits, Step, TurnOpening};
use crate::{
    clients::claude::Reply,
    domain::{ModuleRating, Usd},
};

/// Answers that may be lost to the death of a process before a run is closed with what it has.
const MAX_LOSSES: u32 = 2;

/// How far a run had come.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// How its main turn began, if it did.
    pub opened: Option<TurnOpening>,
    /// Its main turn, where it was.
    pub day: Option<Day>,
    /// How the main turn ended, if it did.
    pub ended: Option<DayEnd>,
    /// What happened in the rating turn: replies, and thinking taken out.
    pub rating: Vec<Step>,
    /// What the persona has rated, if it has.
    pub rated: Option<Vec<ModuleRating>>,
    /// What requests without an answer may have cost.
    pub lost: Usd,
    /// Answers lost to the death of a process.
    pub losses: u32,
    /// Sessions at mana-mcp that may be open.
    pub sessions: Vec<String>,
    /// Whether the last of them was under way at the very end.
    pub lost_an_answer: bool,
    /// What the request may cost that was under way.
    pub(super) asking: Option<Usd>,
}

impl Replay {
    /// How far the run had come that left these steps, each at its time, and may take so much.
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

    /// What the model replied in the rating turn.
    pub(super) fn rating_replies(&self) -> impl Iterator<Item = &Reply> + Clone {
        self.rating.iter().filter_map(|step| match step {
            Step::Replied(reply) => Some(reply),
            _ => None,
        })
    }

    /// What the run had cost before this process.
    pub(crate) fn spent(&self) -> Usd {
        let day = self.day.as_ref().map_or(self.lost, Day::spent);
        day + self.rating_replies().map(|reply| reply.cost.total()).sum()
    }

    /// Whether answers were lost so often that the run is to be closed with what it has.
    pub(crate) fn has_lost_enough(&self) -> bool {
        self.losses >= MAX_LOSSES
    }

    pub(super) fn take(&mut self, step: Step, at: Instant) {
        let is_day = self.ended.is_none();
        match step {
            Step::Opened(opened) => {
                // What it may take is looked at when all that it has taken is known.
                self.day = Some(Day::new(&opened.opening, Limits::NONE));
                self.opened = Some(opened);
            }
            Step::Asking { reserved } => {
                self.lose_answer();
                self.asking = Some(reserved);
                if let Some(day) = self.day.as_mut().filter(|_| is_day) {
                    day.spent_before = day.spent() + self.lost;
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

    /// The request under way has no answer, nor a step that says so: the process died.
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
    use crate::agent::{call::CalledTool, day::Known};

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
            // The next process has written down that nobody knows what came of it.
            step(90, called("toolu_1")),
            step(100, called("toolu_2")),
            step(110, json!({"calling": {"id": "toolu_3", "tool": {"listed": "habits.list"}}})),
        ];
        let day = Replay::of(steps, Limits::NONE).day.unwrap();
        let age = |id| match &day.under_way[id] {
            Known::Called(called) => called.record.started - start,
            Known::Calling(CalledTool::Listed(_), at) => *at - start,
            Known::Calling(..) => panic!("{id}"),
        };
        assert_eq!(["toolu_1", "toolu_2", "toolu_3"].map(|id| age(id).as_secs()), [10, 98, 110]);
    }
}
