//! A run rebuilt from its steps.

use super::{
    conversation::{Limits, Next},
    day::{Day, Earlier},
    purse,
    step::{Called, DayEnd, Opened, Step},
};
use crate::{
    clients::claude::{Reply, ToolResult, sendable_id},
    domain::{ModuleRating, Usd},
};

/// Answers that may be lost to the death of a process before a run is closed with what it has.
const MAX_LOSSES: u32 = 2;

/// How far a run had come.
#[derive(Debug, Default)]
pub struct Replay {
    /// How its main turn began, if it did.
    pub opened: Option<Opened>,
    /// Its main turn, where it was.
    pub day: Option<Day>,
    /// How the main turn ended, if it did.
    pub ended: Option<DayEnd>,
    /// What happened in the rating turn.
    pub rating: Vec<RatingStep>,
    /// What the persona has rated, if it has.
    pub rated: Option<Vec<ModuleRating>>,
    /// What requests without an answer may have cost.
    pub lost: Usd,
    /// Answers lost to the death of a process.
    pub losses: u32,
    /// Whether the last of them was under way at the very end.
    pub lost_an_answer: bool,
    /// What the request may cost that was under way.
    asking: Option<Usd>,
}

/// A step of the rating turn.
#[derive(Clone, Debug)]
pub enum RatingStep {
    /// The model replied.
    Replied(Reply),
    /// All thinking was taken out of the history.
    ThinkingStripped,
}

impl Replay {
    /// How far the run had come that left these steps, and may take so much.
    pub fn of(steps: impl IntoIterator<Item = Step>, limits: Limits) -> Self {
        let mut replay = Self::default();
        for step in steps {
            replay.take(step);
        }
        replay.lost_an_answer = replay.asking.is_some();
        replay.lose_answer();
        if let Some(day) = &mut replay.day {
            day.conversation.resume(limits, replay.lost);
        }
        replay
    }

    /// Whether answers were lost so often that the run is to be closed with what it has.
    pub fn has_lost_enough(&self) -> bool {
        self.losses >= MAX_LOSSES
    }

    fn take(&mut self, step: Step) {
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
                    day.spent_before = day.conversation.spent() + self.lost;
                }
            }
            Step::Unanswered { lost } => {
                let reserved = self.asking.take().unwrap_or_default();
                if lost {
                    self.lost += reserved;
                }
            }
            Step::Replied(reply) => {
                self.asking = None;
                match self.day.as_mut().filter(|_| is_day) {
                    Some(day) => day.conversation.record_reply(reply),
                    None => self.rating.push(RatingStep::Replied(reply)),
                }
            }
            Step::ThinkingStripped if !is_day => self.rating.push(RatingStep::ThinkingStripped),
            Step::ThinkingStripped | Step::ToolLeftOut { .. } | Step::AttachmentsReplaced => {
                if let Some(day) = &mut self.day {
                    day.take_out(&step);
                }
            }
            Step::Calling { id, tool } => self.of_call(id, Earlier::Calling(tool)),
            Step::NotCalled { id } => {
                self.day.as_mut().and_then(|day| day.earlier.remove(&id));
            }
            Step::Called(called) => {
                self.of_call(called.id.clone(), Earlier::Called(Box::new(called)));
            }
            Step::Told { reminder, as_system, cut } => {
                if let Some(day) = &mut self.day {
                    tell(day, reminder.as_deref(), as_system, &cut);
                }
            }
            Step::DayEnded(end) => {
                self.lose_answer();
                self.ended = Some(end);
            }
            Step::Rated { rows } => self.rated = Some(rows),
        }
    }

    fn of_call(&mut self, id: String, call: Earlier) {
        if let Some(day) = &mut self.day {
            // An earlier version left the ids of calls as they came.
            day.earlier.insert(sendable_id(&id), call);
        }
    }

    fn lose_answer(&mut self) {
        if let Some(reserved) = self.asking.take() {
            self.lost += reserved;
            self.losses += 1;
        }
    }
}

/// The results of the turn under way went into the history, in the order asked.
fn tell(day: &mut Day, reminder: Option<&str>, as_system: bool, cut: &[usize]) {
    let Next::CallTools(asked) = day.conversation.next() else { return };
    let mut results = Vec::with_capacity(asked.len());
    for call in asked {
        let Some(Earlier::Called(called)) = day.earlier.remove(&call.id) else { return };
        let Called { record, mut content, .. } = *called;
        day.attached.ration(&mut content);
        results.push(ToolResult::of(call, content, record.error.is_some()));
        day.calls.push(record);
    }
    purse::cut(&mut results, cut);
    day.conversation.record_results(&results, reminder, as_system);
}
