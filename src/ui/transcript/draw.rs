//! The items of a run's page as HTML.

use maud::{Markup, html};

use super::{
    calls,
    drawer::{Drawer, NAME},
    excerpt::{Excerpt, NOTES, PROMPT, QUESTION, REMINDER, WORDS},
    parts::Places,
    story::{Heading, Item, Notice, Rating, Reply},
};
use crate::{
    domain::{UnratedWhy, clipped_line},
    report::view::languages,
};

/// Longest reason of an end, a refusal or an error, in characters.
pub(super) const REASON: usize = 400;
/// How many calls of a rating are named.
const MOST_CALLS: usize = 60;
/// How many modules without a rating are named.
const MOST_UNRATED: usize = 100;

impl Drawer<'_> {
    /// An item, with texts of at most `most` bytes. `places` says where the calls and ratings are that it links to.
    pub(super) fn item(&self, item: &Item<'_>, most: usize, places: &Places) -> Markup {
        let words = self.words;
        match item {
            Item::Heading(heading) => html! { h2 { (self.heading(*heading)) } },
            Item::Prompt(text) => self.folded(words.who, text, most.min(PROMPT)),
            Item::Opening(at, text) => html! {
                h3 { (words.opening) }
                p.seen { (self.times.second(*at)) }
                (self.spoken(text, most.min(WORDS)))
            },
            Item::Turn(reply) => self.turn(reply),
            Item::Words(text) => self.spoken(text, most.min(WORDS)),
            Item::Call(call) => calls::folded(self, call, most, places),
            Item::Reminder(text, as_system) => html! {
                div.quote {
                    p.seen { (if *as_system { words.system_reminder } else { words.reminder }) }
                    (self.spoken(text, most.min(REMINDER)))
                }
            },
            Item::Question(text) => self.folded(words.question, text, most.min(QUESTION)),
            Item::Answer(text) => self.folded(words.answer, text, most.min(QUESTION)),
            Item::Rating(index) => match self.story.ratings.get(*index) {
                Some(rating) => self.rating(rating, most, places),
                None => html! {},
            },
            Item::Unrated(modules) => self.unrated(modules),
            Item::Refused(rows, kind, reason) => html! {
                p.trouble {
                    (words.refused_rows(*rows, &clipped_line(kind, NAME))) ": "
                    bdi { (clipped_line(reason, REASON)) }
                }
            },
            Item::Notice(notice) => self.notice(notice),
        }
    }

    pub(super) fn heading(&self, heading: Heading) -> &'static str {
        match heading {
            Heading::Conversation => self.words.conversation,
            Heading::Calls => self.words.calls,
            Heading::Ratings => self.words.ratings,
            Heading::Refused => self.words.refused,
        }
    }

    fn turn(&self, Reply { turn, at }: &Reply<'_>) -> Markup {
        let reply = &turn.reply;
        let usage = &reply.usage;
        let mut told = vec![self.times.second(*at)];
        told.extend(turn.took.map(|took| self.terms.took(took)));
        told.push(self.words.tokens(usage.prompt(), usage.cache_read, usage.output));
        told.push(self.terms.usd(reply.cost.total()));
        told.push(self.words.stop_reason(reply.stop_reason.as_str()).to_owned());
        let refusal = reply.refusal.as_deref().map(|category| clipped_line(category, NAME));
        html! {
            div.turn {
                h3 { (self.words.turn(turn.number, turn.is_rating)) }
                p.seen {
                    (told.join(" · "))
                    @if let Some(refusal) = refusal { " (" bdi { (refusal) } ")" }
                }
            }
        }
    }

    fn rating(&self, rating: &Rating<'_>, most: usize, places: &Places) -> Markup {
        let words = self.words;
        html! {
            div.quote id=(rating.anchor) {
                p {
                    @if rating.is_unreadable {
                        (words.unreadable)
                    } @else {
                        a href=(self.asked.link(&["modules", rating.module], &[])) {
                            bdi { (clipped_line(rating.module, NAME)) }
                        }
                        ": " b { (words.of_five(rating.rating)) }
                    }
                }
                (self.spoken(rating.notes, most.min(NOTES)))
                @if !rating.is_unreadable { p.seen { (self.evidence(rating, places)) } }
            }
        }
    }

    /// The calls that a rating rests on.
    fn evidence(&self, rating: &Rating<'_>, places: &Places) -> Markup {
        let words = self.words;
        let more = rating.calls.len().saturating_sub(MOST_CALLS);
        html! {
            @if rating.calls.is_empty() {
                (words.rests_on_none)
            } @else {
                (words.rests_on)
                @for (index, call) in rating.calls.iter().take(MOST_CALLS).enumerate() {
                    @if index > 0 { "," } " "
                    @if self.story.numbers.contains(call) {
                        a href=(places.call(self.asked, *call)) { (call) }
                    } @else {
                        (words.no_such_call(*call))
                    }
                }
                @if more > 0 { " " (words.and_more(more)) }
            }
        }
    }

    fn unrated(&self, modules: &[(&str, UnratedWhy)]) -> Markup {
        let view = languages::words(self.asked.language);
        let more = modules.len().saturating_sub(MOST_UNRATED);
        html! {
            h3 { (self.words.unrated) }
            ul.lines {
                @for (module, why) in modules.iter().take(MOST_UNRATED) {
                    li { bdi { (clipped_line(module, NAME)) } ": " (view.unrated(*why)) }
                }
                @if more > 0 { li { (self.words.and_more(more)) } }
            }
        }
    }

    fn notice(&self, notice: &Notice<'_>) -> Markup {
        match notice {
            Notice::DayEnded(_, _, reason) => {
                html! { p.turn.note { (self.told(notice)) (self::reason(reason)) } }
            }
            Notice::Damaged(_, error) => html! {
                p.trouble { (self.told(notice)) (self::reason(error)) }
            },
            Notice::Unanswered(Some(_)) | Notice::Died(_) | Notice::StepsGone(_) => {
                html! { p.trouble { (self.told(notice)) } }
            }
            _ => html! { p.note { (self.told(notice)) } },
        }
    }

    /// What a notice says, without its reason.
    fn told(&self, notice: &Notice<'_>) -> String {
        let words = self.words;
        match notice {
            Notice::StepsGone(true) => words.steps_gone.into(),
            Notice::StepsGone(false) => words.calls_gone.into(),
            Notice::NothingSaid => words.nothing_said.into(),
            Notice::Unanswered(None) => words.not_billed.into(),
            Notice::Unanswered(Some(billed)) => words.billed(*billed),
            Notice::Died(billed) => words.died(*billed),
            Notice::Asking(since, reserved) => words.asking(&self.times.second(*since), *reserved),
            Notice::WithoutTool(tool) => words.without_tool(&clipped_line(tool, NAME)),
            Notice::WithoutAttachments => words.without_attachments.into(),
            Notice::WithoutThinking => words.without_thinking.into(),
            Notice::NoRatings => words.no_ratings.into(),
            Notice::DayEnded(at, outcome, _) => {
                words.day_ended(&self.times.second(*at), self.terms.outcome(*outcome))
            }
            Notice::Damaged(step, _) => words.damaged(*step),
        }
    }

    /// A text that is folded until somebody opens it.
    fn folded(&self, title: &str, text: &str, most: usize) -> Markup {
        html! { details data-item { summary { (title) } (self.spoken(text, most)) } }
    }

    /// The beginning of a text that somebody has said. All of it is printed by the command line.
    fn spoken(&self, text: &str, most: usize) -> Markup {
        let excerpt = Excerpt::of(text, most);
        html! {
            @if !excerpt.text.is_empty() { p.words { (excerpt.text) @if excerpt.is_cut { "…" } } }
            @if excerpt.is_cut {
                p.rest {
                    (self.words.beginning(text.chars().count())) " "
                    code { "mana-persona-runner show " (self.run) " --full" }
                }
            }
        }
    }
}

/// Why something ended or failed, unless it is the ordinary end.
pub(super) fn reason(reason: &str) -> Markup {
    html! { @if !matches!(reason, "" | "done") { " (" bdi { (clipped_line(reason, REASON)) } ")" } }
}
