//! Turns the steps of a run into a transcript for people: its replies and calls turn by turn, costs and end.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Called, CalledTool, Day, MainTurn, Step, rating, replay::Replay};
use crate::{
    clients::claude::{Block, Reply, ResultBlock, ToolUse, sendable_id},
    domain::{Redactor, Usd},
};

/// The transcript of a run, and the state of reading its steps.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The events of the run, in order.
    pub parts: Vec<Part>,
    /// The run, rebuilt from its steps; without its main turn once the main turn is over.
    pub replay: Replay,
    /// The main turn. `None` until the main turn is over.
    turn: Option<MainTurn>,
    /// When the model request under way was sent.
    asked_at: Option<Timestamp>,
    questions: usize,
    /// How many calls of earlier turns have a result.
    calls_before: usize,
}

/// An event of a run.
#[derive(Debug)]
pub(crate) enum Part {
    /// A step that is shown by itself, and its time.
    Step(Timestamp, Step),
    /// A reply of the model, with its calls.
    Turn(Turn),
    /// The user message that asks for ratings.
    Question(String),
    /// A request that ended without an answer. The amount is what may have been billed; `None` if nothing
    /// was.
    Unanswered(Option<Usd>),
    /// The process died while a model request was under way. The amount is what may have been billed.
    Died(Usd),
    /// A model request that was sent at this time and has no answer yet, and the money reserved for it.
    Asking(Timestamp, Usd),
    /// The step with this number is damaged or of another version. The text is the error of reading it.
    Unreadable(u32, String),
}

/// A reply of the model and its tool calls.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Whether the reply belongs to the rating turn. Otherwise it belongs to the main turn.
    pub is_rating: bool,
    /// The number of the reply in the rating turn or the main turn, from 1.
    pub number: usize,
    /// When the reply came.
    pub at: Timestamp,
    /// How long the answer took. `None` if the journal has no `Asking` for the reply.
    pub took: Option<Duration>,
    pub reply: Reply,
    /// One item for each tool call in the reply, in order.
    pub calls: Vec<Call>,
}

/// What the model said in a reply.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    Words(&'a str),
    Call(&'a Call),
}

/// A tool call and its state.
#[derive(Debug)]
pub(crate) struct Call {
    /// The number of the call in the run, from 1. `None` if the call was not begun.
    pub number: Option<u32>,
    /// The `tool_use` block of the model.
    pub asked: ToolUse,
    /// The tool. `None` if the call was not begun, or was not made because the server was away.
    pub tool: Option<CalledTool>,
    /// The result. `None` if the call has none.
    pub called: Option<Called>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It has a result.
    Back,
    /// It is under way.
    NotBackYet,
    /// The process died during the call: whether it ran is unknown.
    Unknown,
    /// It will be made.
    NotMadeYet,
    /// It was never made.
    NotMade,
}

/// A part of a result, as people see it.
#[derive(Debug)]
pub(crate) enum Shown<'a> {
    Text(&'a str),
    /// An image or a PDF: its type and its size in bytes.
    Attachment(&'a str, usize),
}

impl Turn {
    /// The texts and the calls of the reply, in order. Blank texts are left out.
    pub(crate) fn said(&self) -> impl Iterator<Item = Said<'_>> {
        let mut calls = self.calls.iter();
        self.reply.blocks.iter().filter_map(move |block| match block {
            Block::Text(text) if !text.trim().is_empty() => Some(Said::Words(text)),
            Block::ToolUse(_) => calls.next().map(Said::Call),
            _ => None,
        })
    }
}

impl Call {
    /// How far the call has come. `goes_on` says that further steps of the run may follow.
    pub(crate) fn came(&self, goes_on: bool) -> Came {
        match (&self.called, self.tool.is_some(), goes_on) {
            (Some(_), _, _) => Came::Back,
            (None, true, true) => Came::NotBackYet,
            (None, true, false) => Came::Unknown,
            (None, false, true) => Came::NotMadeYet,
            (None, false, false) => Came::NotMade,
        }
    }

    /// The input. A call whose reply was cut off may have none.
    pub(crate) fn input(&self) -> &str {
        match self.asked.input.get() {
            "null" => "{}",
            input => input,
        }
    }
}

impl Called {
    /// The parts of the result. For a failed call without a result that is its error.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let error = self.record.error.as_deref().filter(|_| self.content.is_empty());
        let content = self.content.iter().map(|block| {
            let (kind, data) = match block {
                ResultBlock::Text(text) => return Shown::Text(text),
                ResultBlock::Image { media_type, data } => (&**media_type, data),
                ResultBlock::Pdf { data } => ("PDF", data),
            };
            Shown::Attachment(kind, data.len() * 3 / 4)
        });
        content.chain(error.map(Shown::Text))
    }
}

impl Transcript {
    /// Reads steps, each with its number and its time. `goes_on` says that the run is still under way. Then
    /// its last request may be under way too; otherwise the process died during that request.
    pub(crate) fn of<'a>(
        steps: impl IntoIterator<Item = (u32, Timestamp, &'a str)>,
        goes_on: bool,
    ) -> Self {
        let mut transcript = Self::default();
        for (number, at, step) in steps {
            match serde_json::from_str(step) {
                Ok(step) => transcript.take(step, at),
                Err(error) => transcript.parts.push(Part::Unreadable(number, error.to_string())),
            }
        }
        let Self { parts, replay, asked_at, .. } = &mut transcript;
        match asked_at.zip(replay.asking) {
            Some((since, reserved)) if goes_on => parts.push(Part::Asking(since, reserved)),
            Some((_, reserved)) => {
                parts.push(Part::Died(reserved));
                replay.lose_answer();
            }
            None => {}
        }
        transcript
    }

    /// The replies of the main turn.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.parts.iter().filter_map(|part| match part {
            Part::Turn(turn) if !turn.is_rating => Some(turn),
            _ => None,
        })
    }

    /// The calls of the main turn that have a result.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Called> {
        self.turns().flat_map(|turn| &turn.calls).filter_map(|call| call.called.as_ref())
    }

    /// The numbers of turns, calls with a result, and failed calls of the main turn.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let failed = self.calls().filter(|called| called.record.error.is_some());
        (self.turns().count(), self.calls().count(), failed.count())
    }

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
            | Step::SessionsEnded
            | Step::Unrated { .. } => return,
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

    /// The user message of the next request for ratings. `None` if the main turn is not over or if the
    /// request repeats the message before. No step has this message; it is computed from the calls and
    /// replies of the run.
    fn question(&mut self) -> Option<String> {
        let answers = self.replay.rating_replies();
        let turn = self.turn.as_ref().filter(|_| self.questions <= answers.clone().count())?;
        // The journal contains no secrets, so nothing needs to be redacted.
        let question = rating::question(turn, answers, &Redactor::default())?;
        self.questions += 1;
        Some(question)
    }

    fn reply(&mut self, reply: Reply, at: Timestamp) -> Part {
        let took = self.asked_at.take().map(|since| at.duration_since(since));
        let took = took.map(|took| took.try_into().unwrap_or_default());
        let is_rating = self.replay.ended.is_some();
        self.calls_before = self.calls().count();
        let day = self.replay.day.as_ref();
        // The day's calls have the ids under which their results are stored.
        let mut asked = day.map(Day::asked).unwrap_or_default().iter();
        let calls = reply.tool_uses().map(|call| {
            let asked = asked.next().unwrap_or(call).clone();
            Call { number: None, asked, tool: None, called: None }
        });
        let calls = calls.collect();
        let of_rating = || self.replay.rating_replies().count();
        let number = day.map_or_else(of_rating, |day| day.replies() as usize);
        Part::Turn(Turn { is_rating, number, at, took, reply, calls })
    }

    /// Sets the state of a call of the last turn.
    fn call(&mut self, id: &str, tool: Option<CalledTool>, called: Option<Called>) {
        let id = sendable_id(id);
        let is_turn = |part: &&mut Part| matches!(part, Part::Turn(_));
        let Some(Part::Turn(turn)) = self.parts.iter_mut().rfind(is_turn) else { return };
        let mut calls = turn.calls.iter_mut().enumerate();
        if let Some((index, call)) = calls.find(|(_, call)| call.asked.id == id) {
            // A call without a result gets the number that its result will have.
            let next = u32::try_from(self.calls_before + index + 1).ok();
            let begun = tool.as_ref().and(next);
            call.number = called.as_ref().map_or(begun, |called| Some(called.record.number));
            (call.tool, call.called) = (tool, called);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of each kind, as the daemon of commit cabd9f6 wrote them.
    const STEPS: &str = include_str!("../../tests/fixtures/steps-cabd9f6.jsonl");

    #[test]
    fn the_steps_of_an_earlier_version_are_told_with_what_came_of_each_call() {
        let steps = (0..).zip(STEPS.lines()).map(|(n, step)| (n, Timestamp::UNIX_EPOCH, step));
        let transcript = Transcript::of(steps, false);
        assert!(!transcript.parts.iter().any(|part| matches!(part, Part::Unreadable(..))));
        assert_eq!(transcript.turns().map(|turn| turn.number).collect::<Vec<_>>(), [1, 2, 3]);
        let numbers: Vec<_> = transcript.calls().map(|called| called.record.number).collect();
        assert_eq!((transcript.counts(), &*numbers), ((3, 3, 2), &[1, 2, 4][..]));
        // Of the calls of a turn, the first and the last were not begun.
        let calls = transcript.turns().flat_map(|turn| &turn.calls);
        let calls: Vec<_> = calls.map(|call| (call.number, call.came(false))).collect();
        let (back, not_made) = (Came::Back, Came::NotMade);
        let expected =
            [(Some(1), back), (Some(2), back), (None, not_made), (Some(4), back), (None, not_made)];
        assert_eq!(calls, expected);
        let last_parts = transcript.parts.iter().rev().take(4).collect::<Vec<_>>();
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
        let transcript = Transcript::of([asking], true);
        assert!(
            matches!(transcript.parts[..], [Part::Asking(..)])
                && transcript.replay.lost == Usd::ZERO
        );
        let transcript = Transcript::of([asking, asking], false);
        assert!(
            matches!(transcript.parts[..], [Part::Died(_), Part::Died(_)])
                && transcript.replay.lost > Usd::ZERO
        );
        assert!(Transcript::of([(0, Timestamp::UNIX_EPOCH, "{}")], true).calls().next().is_none());
    }
}
