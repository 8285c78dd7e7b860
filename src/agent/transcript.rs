//! A run as its steps tell it to people: turn by turn what was said and done, what it cost, how it ended.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Called, CalledTool, Day, MainTurn, Replay, Step, rating};
use crate::{
    clients::claude::{Reply, ToolUse, sendable_id},
    domain::{Redactor, Usd},
};

/// What a run's steps tell.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// What happened, in order.
    pub parts: Vec<Part>,
    /// What requests without an answer may have cost.
    pub lost: Usd,
}

/// Something that happened in a run.
#[derive(Debug)]
pub(crate) enum Part {
    /// What a step says that needs nothing beside it, and when.
    Step(Timestamp, Step),
    /// The model replied.
    Turn(Turn),
    /// The persona was asked this for its ratings.
    Question(String),
    /// No answer came. It may have been billed with so much all the same, if it says so.
    Unanswered(Option<Usd>),
    /// The process died while the model was answering, which may have been billed with so much.
    Died(Usd),
    /// The model was asked then and has not answered yet; so much is reserved.
    Asking(Timestamp, Usd),
    /// The step of this number is of another version, or damaged: what is wrong with it.
    Unreadable(u32, String),
}

/// A reply, and what came of its calls.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Whether it is one of the rating turn, and not of the main turn.
    pub is_rating: bool,
    /// Its number among the replies there, from 1.
    pub number: usize,
    /// How long the answer took.
    pub took: Option<Duration>,
    /// What it cost, and how it ended.
    pub reply: Reply,
    /// One for each tool call in it, in order.
    pub calls: Vec<Call>,
}

/// A tool call, as far as it has come.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the model asked for.
    pub asked: ToolUse,
    /// The tool, once the call was about to be made or came to something.
    pub tool: Option<CalledTool>,
    /// What came of it.
    pub called: Option<Called>,
}

impl Transcript {
    /// What these steps tell, each with its number and its time. In a run that goes on, the last request may be
    /// under way.
    pub(crate) fn of<'a>(
        steps: impl IntoIterator<Item = (u32, Timestamp, &'a str)>,
        goes_on: bool,
    ) -> Self {
        let mut reader = Reader::default();
        for (number, at, step) in steps {
            match serde_json::from_str(step) {
                Ok(step) => reader.take(step, at),
                Err(error) => reader.parts.push(Part::Unreadable(number, error.to_string())),
            }
        }
        match reader.asked_at.zip(reader.replay.asking) {
            Some((since, reserved)) if goes_on => reader.parts.push(Part::Asking(since, reserved)),
            Some((_, reserved)) => {
                reader.parts.push(Part::Died(reserved));
                reader.replay.lose_answer();
            }
            None => {}
        }
        Self { parts: reader.parts, lost: reader.replay.lost }
    }

    /// The replies of the main turn.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.parts.iter().filter_map(|part| match part {
            Part::Turn(turn) if !turn.is_rating => Some(turn),
            _ => None,
        })
    }

    /// The calls that came to something.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Called> {
        self.turns().flat_map(|turn| &turn.calls).filter_map(|call| call.called.as_ref())
    }
}

/// Reads steps one after the other.
#[derive(Default)]
struct Reader {
    parts: Vec<Part>,
    replay: Replay,
    /// The main turn, once it is over.
    turn: Option<MainTurn>,
    /// When the request under way was sent.
    asked_at: Option<Timestamp>,
    questions: usize,
}

impl Reader {
    fn take(&mut self, step: Step, at: Timestamp) {
        let asking = self.replay.asking;
        self.replay.take(step.clone(), Instant::now());
        if let (Step::Asking { .. } | Step::DayEnded(_), Some(reserved)) = (&step, asking) {
            self.parts.push(Part::Died(reserved));
        }
        let part = match step {
            Step::Asking { .. } => {
                self.asked_at = Some(at);
                let Some(question) = self.question() else { return };
                Part::Question(question)
            }
            Step::Replied(reply) => self.reply(reply, at),
            Step::Unanswered { lost } => {
                self.asked_at = None;
                Part::Unanswered(lost.then(|| asking.unwrap_or_default()))
            }
            Step::Calling { id, tool } => return self.call(&id, Some(tool), None),
            Step::NotCalled { id } => return self.call(&id, None, None),
            Step::Called(called) => {
                let (id, tool) = (called.id.clone(), called.record.tool.clone());
                return self.call(&id, Some(tool), Some(called));
            }
            Step::Told { reminder: None, .. }
            | Step::SessionOpened { .. }
            | Step::SessionsEnded => return,
            step => {
                if let Step::DayEnded(_) = step {
                    let day = self.replay.day.take();
                    self.turn = day.map(|day| day.close(&Redactor::default()));
                }
                Part::Step(at, step)
            }
        };
        self.parts.push(part);
    }

    /// What the model is about to be asked for the ratings, unless it is the same once more. It is in no step:
    /// it follows from what happened.
    fn question(&mut self) -> Option<String> {
        let answers = self.replay.rating_replies();
        let turn = self.turn.as_ref().filter(|_| self.questions <= answers.clone().count())?;
        // Secrets were kept out of what is in a journal.
        let question = rating::question(turn, answers, &Redactor::default())?;
        self.questions += 1;
        Some(question)
    }

    fn reply(&mut self, reply: Reply, at: Timestamp) -> Part {
        let took = self.asked_at.take().map(|since| at.duration_since(since));
        let took = took.map(|took| took.try_into().unwrap_or_default());
        let is_rating = self.replay.ended.is_some();
        let day = self.replay.day.as_ref();
        // The calls under the ids their results are kept by.
        let mut asked = day.map(Day::asked).unwrap_or_default().iter();
        let calls = reply.tool_uses().map(|call| {
            let asked = asked.next().unwrap_or(call).clone();
            Call { asked, tool: None, called: None }
        });
        let calls = calls.collect();
        let of_rating = || self.replay.rating_replies().count();
        let number = day.map_or_else(of_rating, |day| day.replies() as usize);
        Part::Turn(Turn { is_rating, number, took, reply, calls })
    }

    /// What is known now of a call of the last turn.
    fn call(&mut self, id: &str, tool: Option<CalledTool>, called: Option<Called>) {
        let id = sendable_id(id);
        let is_turn = |part: &&mut Part| matches!(part, Part::Turn(_));
        let Some(Part::Turn(turn)) = self.parts.iter_mut().rfind(is_turn) else { return };
        if let Some(call) = turn.calls.iter_mut().find(|call| call.asked.id == id) {
            (call.tool, call.called) = (tool, called);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of each kind, as an earlier version wrote them.
    const STEPS: &str = include_str!("../../tests/fixtures/steps-cabd9f6.jsonl");

    #[test]
    fn the_steps_of_an_earlier_version_are_told_with_what_came_of_each_call() {
        let steps = (0..).zip(STEPS.lines()).map(|(n, step)| (n, Timestamp::UNIX_EPOCH, step));
        let told = Transcript::of(steps, false);
        assert!(!told.parts.iter().any(|part| matches!(part, Part::Unreadable(..))));
        assert_eq!(told.turns().map(|turn| turn.number).collect::<Vec<_>>(), [1, 2, 3]);
        let numbers: Vec<_> = told.calls().map(|called| called.record.number).collect();
        assert_eq!(numbers, [1, 2, 4]);
        let last_parts = told.parts.iter().rev().take(4).collect::<Vec<_>>();
        let [
            Part::Unanswered(Some(_)),
            Part::Step(_, Step::Rated { rows }),
            Part::Turn(answer),
            Part::Step(_, Step::DayEnded(end)),
        ] = last_parts[..]
        else {
            panic!("{last_parts:?}");
        };
        assert!(rows[0].calls.contains(&numbers[2]));
        assert_eq!((answer.is_rating, answer.number, &*end.reason), (true, 1, "done"));
    }

    #[test]
    fn a_request_without_an_answer_is_under_way_or_was_paid_for_in_vain() {
        let asking = (0, Timestamp::UNIX_EPOCH, r#"{"asking":{"reserved":7}}"#);
        let told = Transcript::of([asking], true);
        assert!(matches!(told.parts[..], [Part::Asking(..)]) && told.lost == Usd::ZERO);
        let told = Transcript::of([asking, asking], false);
        assert!(matches!(told.parts[..], [Part::Died(_), Part::Died(_)]) && told.lost > Usd::ZERO);
        assert!(Transcript::of([(0, Timestamp::UNIX_EPOCH, "{}")], true).calls().next().is_none());
    }
}
