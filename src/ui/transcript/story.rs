//! What a run's page tells, in order: made of the steps of the run and of its facts. Without words, and whole.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use super::kept::Kept;
use crate::{
    agent::{
        call::CalledTool,
        day_end::DayEnd,
        step::{Step, TurnOpening},
        transcript::{self, Came, Part, Said, Shown, Turn},
    },
    domain::{
        Cause, ModuleRating, Next, Outcome, PARSE_MODULE, RunState, UnratedWhy, Usd, indented_json,
    },
    facts::line,
};

/// Longest name of a module that stands in an anchor as it is.
const PLAIN_ANCHOR: usize = 64;

/// What a run's page tells.
#[derive(Debug, Default)]
pub(super) struct Story<'k> {
    /// In order.
    pub(super) items: Vec<Item<'k>>,
    /// The ratings, in the order of their items.
    pub(super) ratings: Vec<Rating<'k>>,
    /// The numbers of all calls that an item tells.
    pub(super) numbers: HashSet<u32>,
}

/// A part of a run's page that is not divided.
#[derive(Debug)]
pub(super) enum Item<'k> {
    Heading(Heading),
    /// Who the persona is: its system prompt.
    Prompt(&'k str),
    /// What it was told at the beginning.
    Opening(Timestamp, &'k str),
    Turn(Reply<'k>),
    /// Words of the model in a reply.
    Words(&'k str),
    Call(Box<Call<'k>>),
    /// A reminder to the model, and whether it was a system message.
    Reminder(&'k str, bool),
    /// What the persona was asked for its ratings.
    Question(&'k str),
    /// Its answer, word by word.
    Answer(&'k str),
    /// The rating with this index.
    Rating(usize),
    /// Modules without a rating, and why.
    Unrated(Vec<(&'k str, UnratedWhy)>),
    /// Rows that mana-auth has refused for good: how many, of which kind, and why.
    Refused(usize, &'k str, &'k str),
    Notice(Notice<'k>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    Conversation,
    Calls,
    Ratings,
    Refused,
}

/// What happened besides the conversation.
#[derive(Debug)]
pub(super) enum Notice<'k> {
    /// The steps are too old and deleted. Whether the single calls are still known.
    StepsGone(bool),
    NothingSaid,
    /// A request ended without an answer. The amount is what may have been billed; `None` if nothing was.
    Unanswered(Option<Usd>),
    /// The process died during a request. The amount is what may have been billed.
    Died(Usd),
    /// The model has been asked since this time; the amount is reserved.
    Asking(Timestamp, Usd),
    /// The request was sent once more without this tool.
    WithoutTool(&'k str),
    WithoutAttachments,
    WithoutThinking,
    /// The end of the main turn, and why.
    DayEnded(Timestamp, Outcome, &'k str),
    NoRatings,
    /// The step with this number cannot be read.
    Damaged(u32, &'k str),
}

/// A reply of the model.
#[derive(Debug)]
pub(super) struct Reply<'k> {
    pub(super) turn: &'k Turn,
    /// By mana-auth's time.
    pub(super) at: Timestamp,
}

/// A tool call.
#[derive(Debug)]
pub(super) struct Call<'k> {
    /// `None` if it was not begun.
    pub(super) number: Option<u32>,
    pub(super) tool: Cow<'k, str>,
    pub(super) came: Came,
    pub(super) is_ok: bool,
    /// Whether it is unknown if the tool ran.
    pub(super) is_unsure: bool,
    /// When it began, by mana-auth's time.
    pub(super) at: Option<Timestamp>,
    /// How long the last try took.
    pub(super) latency: Option<Duration>,
    pub(super) tries: u32,
    pub(super) cause: Option<Cause>,
    pub(super) next: Option<Next>,
    /// The id of the issue that the failure belongs to.
    pub(super) issue: Option<&'k str>,
    /// The size of the result's text before it was cut, in characters.
    pub(super) chars: u64,
    /// Whether the model got less than the whole result.
    pub(super) is_cut: bool,
    /// What is kept of the call; `None` if its steps are gone.
    pub(super) texts: Option<Texts<'k>>,
    /// The indices of the ratings that rest on it.
    pub(super) ratings: Vec<usize>,
}

/// The texts of a call, laid out for people.
#[derive(Debug)]
pub(super) struct Texts<'k> {
    pub(super) input: Text<'k>,
    pub(super) result: Text<'k>,
    /// Images and PDFs of the result: their types and sizes in bytes.
    pub(super) attachments: Vec<(&'k str, usize)>,
    /// Reminders of the runner's policy for the model.
    pub(super) hints: &'k [String],
}

/// A text, and how many characters it has.
#[derive(Debug)]
pub(super) struct Text<'k> {
    pub(super) text: Cow<'k, str>,
    pub(super) chars: usize,
}

/// A rating of a module.
#[derive(Debug)]
pub(super) struct Rating<'k> {
    pub(super) module: &'k str,
    /// The id of its place in the page.
    pub(super) anchor: String,
    pub(super) rating: u8,
    pub(super) notes: &'k str,
    /// The numbers of the calls that it rests on.
    pub(super) calls: &'k [u32],
    /// Whether it stands for an answer that could not be read.
    pub(super) is_unreadable: bool,
}

impl<'k> Text<'k> {
    fn of(text: Cow<'k, str>) -> Self {
        Self { chars: text.chars().count(), text }
    }
}

impl Call<'_> {
    /// Whether the call failed, or was broken off.
    pub(super) fn has_failed(&self) -> bool {
        match self.came {
            Came::Back => !self.is_ok,
            Came::Unknown => true,
            Came::NotBackYet | Came::NotMadeYet | Came::NotMade => false,
        }
    }
}

impl<'k> Story<'k> {
    /// The story of a run.
    pub(super) fn of(kept: &'k Kept) -> Self {
        let mut story = Self { ratings: ratings(kept), ..Self::default() };
        story.tell(kept);
        story.rest_calls();
        story
    }

    /// The call with this number.
    pub(super) fn call(&self, wanted: u32) -> Option<&Call<'k>> {
        self.items.iter().find_map(|item| match item {
            Item::Call(call) if call.number == Some(wanted) => Some(&**call),
            _ => None,
        })
    }

    fn tell(&mut self, kept: &'k Kept) {
        if let Some(persona) = &kept.run.persona {
            self.items.push(Item::Prompt(&persona.system_prompt));
        }
        let parts = &kept.transcript.parts;
        if !parts.is_empty() {
            self.items.push(Item::Heading(Heading::Conversation));
            parts.iter().for_each(|part| self.tell_part(part, kept));
        } else if kept.run.persona.is_some() {
            self.items.push(Item::Notice(Notice::NothingSaid));
        } else {
            self.tell_facts(kept);
        }
        let has_ended = !matches!(kept.run.state, RunState::Running | RunState::RatingOwed);
        let unrated = kept.modules.iter().filter_map(|module| {
            let why = module.unrated_why.filter(|_| module.rating.is_none())?;
            Some((&*module.module, why))
        });
        let unrated: Vec<_> = unrated.filter(|_| has_ended).collect();
        if !unrated.is_empty() {
            self.items.push(Item::Unrated(unrated));
        }
        let refused = kept.posts.iter().filter(|post| post.is_dead).map(|post| {
            Item::Refused(post.rows, &post.kind, post.reason.as_deref().unwrap_or_default())
        });
        let refused: Vec<_> = refused.collect();
        if !refused.is_empty() {
            self.items.push(Item::Heading(Heading::Refused));
            self.items.extend(refused);
        }
    }

    /// What is left of a run without steps.
    fn tell_facts(&mut self, kept: &'k Kept) {
        self.items.push(Item::Notice(Notice::StepsGone(!kept.calls.is_empty())));
        if !kept.calls.is_empty() {
            self.items.push(Item::Heading(Heading::Calls));
        }
        for call in kept.calls.values() {
            self.numbers.insert(call.number);
            let call = Call { number: Some(call.number), ..of_fact(call, kept) };
            self.items.push(Item::Call(Box::new(call)));
        }
        if !self.ratings.is_empty() {
            self.items.push(Item::Heading(Heading::Ratings));
        }
        self.items.extend((0..self.ratings.len()).map(Item::Rating));
    }

    fn tell_part(&mut self, part: &'k Part, kept: &'k Kept) {
        let shifted = |at: &Timestamp| kept.shifted(*at);
        let item = match part {
            Part::Turn(turn) => return self.tell_turn(turn, kept),
            Part::Step(_, Step::Rated { rows }) => return self.tell_ratings(rows),
            Part::Question(text) => {
                self.items.push(Item::Heading(Heading::Ratings));
                Item::Question(text)
            }
            Part::Step(at, Step::Opened(TurnOpening { opening, .. })) => {
                Item::Opening(shifted(at), opening)
            }
            Part::Step(_, Step::Told { reminder, as_system, .. }) => {
                Item::Reminder(reminder.as_deref().unwrap_or_default(), *as_system)
            }
            Part::Step(at, Step::DayEnded(end)) => {
                let DayEnd { reason, .. } = end;
                Item::Notice(Notice::DayEnded(shifted(at), end.outcome(), reason))
            }
            Part::Step(_, taken_out) => Item::Notice(match taken_out {
                Step::ToolLeftOut { tool } => Notice::WithoutTool(tool.as_str()),
                Step::AttachmentsReplaced => Notice::WithoutAttachments,
                _ => Notice::WithoutThinking,
            }),
            Part::Unanswered(billed) => Item::Notice(Notice::Unanswered(*billed)),
            Part::Died(billed) => Item::Notice(Notice::Died(*billed)),
            Part::Asking(since, reserved) => {
                Item::Notice(Notice::Asking(shifted(since), *reserved))
            }
            Part::Unreadable(number, error) => Item::Notice(Notice::Damaged(*number, error)),
        };
        self.items.push(item);
    }

    fn tell_turn(&mut self, turn: &'k Turn, kept: &'k Kept) {
        self.items.push(Item::Turn(Reply { turn, at: kept.shifted(turn.at) }));
        for said in turn.said() {
            self.items.push(match said {
                Said::Words(words) if turn.is_rating => Item::Answer(words),
                Said::Words(words) => Item::Words(words),
                Said::Call(call) => {
                    let mut call = of_step(call, kept);
                    // Two calls have the same number only if a step between them cannot be read.
                    call.number = call.number.filter(|number| self.numbers.insert(*number));
                    Item::Call(Box::new(call))
                }
            });
        }
    }

    /// Tells the ratings of a step. [`ratings`] has all of them already, in the same order.
    fn tell_ratings(&mut self, rows: &[ModuleRating]) {
        if rows.is_empty() {
            self.items.push(Item::Notice(Notice::NoRatings));
        }
        let told = self.items.iter().filter(|item| matches!(item, Item::Rating(_))).count();
        self.items.extend((told..told + rows.len()).map(Item::Rating));
    }

    /// Notes with each call which ratings rest on it.
    fn rest_calls(&mut self) {
        let mut of_call: HashMap<u32, Vec<usize>> = HashMap::new();
        for (index, rating) in self.ratings.iter().enumerate() {
            for call in rating.calls {
                let ratings = of_call.entry(*call).or_default();
                // A rating may name a call twice.
                if ratings.last() != Some(&index) {
                    ratings.push(index);
                }
            }
        }
        for item in &mut self.items {
            if let Item::Call(call) = item {
                call.ratings = call.number.and_then(|n| of_call.remove(&n)).unwrap_or_default();
            }
        }
    }
}

/// The ratings of the steps, or of the facts if there are no steps.
fn ratings(kept: &Kept) -> Vec<Rating<'_>> {
    let rows = kept.transcript.parts.iter().filter_map(|part| match part {
        Part::Step(_, Step::Rated { rows }) => Some(rows),
        _ => None,
    });
    let of_steps = rows.flatten().map(|row| {
        let notes = row.notes.as_deref().unwrap_or_default();
        (row.module.as_str(), row.rating.get(), notes, &*row.calls)
    });
    let of_facts = kept.modules.iter().filter(|_| kept.transcript.parts.is_empty());
    let of_facts = of_facts.filter_map(|module: &line::Module| {
        let notes = module.notes.as_deref().unwrap_or_default();
        Some((&*module.module, module.rating?, notes, &*module.calls))
    });
    let mut anchors = HashSet::new();
    let mut all = Vec::new();
    for (index, (module, rating, notes, calls)) in of_steps.chain(of_facts).enumerate() {
        let plain = plain_anchor(module).filter(|anchor| anchors.insert(anchor.clone()));
        let anchor = plain.unwrap_or_else(|| format!("rating.{index}"));
        let is_unreadable = module == PARSE_MODULE;
        all.push(Rating { module, anchor, rating, notes, calls, is_unreadable });
    }
    all
}

/// The anchor that is made of a module's name, if the name is a word.
fn plain_anchor(module: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_word = module.len() <= PLAIN_ANCHOR && module.bytes().all(is_plain);
    is_word.then(|| format!("rating-{module}"))
}

/// A call as the facts have it.
fn of_fact<'k>(call: &'k line::Call, kept: &'k Kept) -> Call<'k> {
    Call {
        number: None,
        tool: Cow::Borrowed(&call.tool),
        came: Came::Back,
        is_ok: call.ok,
        is_unsure: false,
        at: Some(call.at),
        latency: call.latency_ms.map(Duration::from_millis),
        tries: call.tries,
        cause: call.cause,
        next: call.next,
        issue: kept.issues.get(&call.number).map(String::as_str),
        chars: call.chars,
        is_cut: call.cut,
        texts: None,
        ratings: Vec::new(),
    }
}

/// A call as the steps have it, with what the facts know of it.
fn of_step<'k>(call: &'k transcript::Call, kept: &'k Kept) -> Call<'k> {
    let fact = call.number.and_then(|number| kept.calls.get(&number));
    let tool = match &call.tool {
        Some(CalledTool::Listed(name)) => name.as_str(),
        Some(CalledTool::Invented(name)) => name,
        None => &call.asked.name,
    };
    let called = call.called.as_ref();
    let (mut texts, mut attachments) = (Vec::new(), Vec::new());
    for shown in called.into_iter().flat_map(|called| called.shown()) {
        match shown {
            Shown::Text(text) => texts.push(readable(text)),
            Shown::Attachment(kind, bytes) => attachments.push((kind, bytes)),
        }
    }
    let result = match texts.pop() {
        Some(only) if texts.is_empty() => only,
        last => {
            texts.extend(last);
            Cow::Owned(texts.join("\n"))
        }
    };
    let texts = Texts {
        input: Text::of(readable(call.input())),
        result: Text::of(result),
        attachments,
        hints: called.map_or(&[], |called| &called.hints),
    };
    let of_fact = fact.map(|fact| of_fact(fact, kept));
    let record = called.map(|called| &called.record);
    Call {
        number: call.number,
        tool: Cow::Borrowed(tool),
        came: call.came(kept.goes_on()),
        is_ok: record.is_some_and(|record| record.error.is_none()),
        is_unsure: record.is_some_and(|record| record.outcome_unknown),
        texts: Some(texts),
        ..of_fact.unwrap_or(Call {
            number: None,
            tool: Cow::Borrowed(tool),
            came: Came::NotMade,
            is_ok: false,
            is_unsure: false,
            at: None,
            latency: record.map(|record| record.latency),
            tries: 0,
            cause: record.and_then(|record| record.detail.cause),
            next: None,
            issue: None,
            chars: 0,
            is_cut: false,
            texts: None,
            ratings: Vec::new(),
        })
    }
}

/// JSON with a line for each part; any other text as it is.
fn readable(text: &str) -> Cow<'_, str> {
    indented_json(text).map_or(Cow::Borrowed(text), Cow::Owned)
}
