//! What the runs say about a module: ratings with their notes and the calls that they rest on, or why there is none.

use jiff::civil::Date;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::{
    domain::{Label, clipped_line, printable},
    facts::window::Days,
    journal::{Page, Part, Rated, RatingFilter, StoredRating},
    report::view::{languages, writer::LABEL},
    ui::{
        Ui,
        asked::Asked,
        pager,
        times::Times,
        trouble::{self, Trouble},
        words,
    },
};

/// Longest notes in the list, in characters. The page of the run has all of them.
const NOTES: usize = 400;
/// How many of the calls that a rating rests on are linked.
const CALLS: usize = 8;
/// The words of the parameter `rating` besides numbers.
const UNGROUNDED: &str = "ungrounded";
const UNRATED: &str = "unrated";

/// A part of the ratings of a module.
pub(super) struct Ratings<'a> {
    /// The first and the last day.
    pub(super) days: Option<(Date, Date)>,
    /// As it was asked for.
    rating: Option<&'a str>,
    /// The label of the persona that was asked for, if it is known.
    persona: Option<String>,
    part: Part,
    found: Result<Page<StoredRating>, Trouble>,
}

impl<'a> Ratings<'a> {
    pub(super) async fn of(
        ui: &Ui,
        asked: &'a Asked,
        module: &str,
        days: Days,
    ) -> Result<Self, Trouble> {
        let part = asked.part()?;
        let rating = asked.parameter("rating");
        let rated =
            rating.map(|text| rated(text).ok_or(Trouble::Parameter("rating"))).transpose()?;
        let (mut persona, mut id) = (None, None);
        if let Some(name) = asked.parameter("persona") {
            let known = ui.journal.persona_called(name).await?;
            let (known, label) = known.unwrap_or((name.to_owned(), name.to_owned()));
            (id, persona) = (Some(known), Some(label));
        }
        let days = ui.journal.dates_of(days).await?;
        let found = match days {
            Some(days) => {
                let filter =
                    RatingFilter { module: module.into(), days, persona: id, rating: rated };
                let page = ui.journal.ratings_of(&filter, part, pager::ROWS as u32).await;
                page.map_err(Trouble::from)
            }
            None => Ok(Page { items: Vec::new(), has_newer: false, has_older: false }),
        };
        Ok(Self { days, rating, persona, part, found })
    }

    /// Whether no run is known that used or rated the module.
    pub(super) fn are_none(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.items.is_empty())
    }

    pub(super) fn into_json(self) -> Result<Value, Trouble> {
        let found = self.found?;
        let ratings = found.items.iter().map(|StoredRating { module, persona_id, label, server_at, .. }| {
            json!({
                "run": module.run, "at": server_at, "persona": {"id": persona_id, "label": label},
                "rating": module.rating, "grounded": module.grounded, "notes": module.notes,
                "unratedWhy": module.unrated_why.map(Label::as_str), "calls": module.calls,
            })
        });
        Ok(
            json!({"ratings": ratings.collect::<Vec<_>>(), "hasNewer": found.has_newer, "hasOlder": found.has_older}),
        )
    }

    pub(super) fn section(&self, asked: &Asked, times: &Times) -> Markup {
        let words = words::modules::words(asked.language);
        let run = |rating: &StoredRating| rating.module.run.clone();
        html! {
            section #ratings {
                h2 { (words.ratings) }
                p.note { (words.grounded_note) }
                (self.form(asked))
                (trouble::part(asked, &self.found, |found| html! {
                    @if found.items.is_empty() {
                        p { @if self.is_whole() { (words.no_ratings) } @else { (words.no_such_ratings) } }
                    }
                    ul { @for rating in &found.items { li.turn data-item { (self::rating(asked, times, rating)) } } }
                    (pager::of_runs(asked, found, run))
                }))
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.rating.is_none() && self.persona.is_none() && self.part == Part::Newest
    }

    fn form(&self, asked: &Asked) -> Markup {
        let words = words::modules::words(asked.language);
        let numbers = (1..=5).rev().map(|rating: u8| (rating.to_string(), words.rated(rating)));
        let others = [(UNGROUNDED, words.ungrounded), (UNRATED, words.unrated)];
        let others = others.map(|(value, word)| (value.to_owned(), word.to_owned()));
        let persona = self.persona.as_deref().map(|persona| clipped_line(persona, LABEL));
        html! {
            form.filter method="get" action=(asked.path) aria-label=(words.filter) {
                @for (name, value) in asked.carried() { input type="hidden" name=(name) value=(value); }
                label {
                    (words.rating)
                    select name="rating" data-filter {
                        option value="" { (words.all) }
                        @for (value, word) in numbers.chain(others) {
                            option value=(value) selected[self.rating == Some(&*value)] { (word) }
                        }
                    }
                }
                label { (words.persona) input name="persona" value=[persona]; }
                button { (words.apply) }
                @if !self.is_whole() { a href=(asked.link(&["modules", asked.segment("module")], &[])) { (words.clear) } }
            }
        }
    }
}

fn rated(text: &str) -> Option<Rated> {
    match text {
        UNGROUNDED => Some(Rated::Ungrounded),
        UNRATED => Some(Rated::Missing),
        number => number.parse().ok().filter(|it| (1..=5).contains(it)).map(Rated::As),
    }
}

fn rating(asked: &Asked, times: &Times, rating: &StoredRating) -> Markup {
    let words = words::modules::words(asked.language);
    let StoredRating { module, persona_id, label, server_at, .. } = rating;
    let label = clipped_line(label.as_deref().unwrap_or(persona_id), LABEL);
    let is_grey = module.rating.is_none() || !module.grounded;
    html! {
        p {
            strong.grey[is_grey] {
                (module.rating.map_or(words.unrated.to_owned(), |rating| words.rated(rating)))
            }
            " · " a href=(asked.link(&["personas", persona_id], &[])) { bdi { (label) } }
            " · " a href=(asked.run_named(&module.run, None)) { (times.minute(*server_at)) }
            @if let Some(why) = module.unrated_why {
                " · " span.grey { (languages::words(asked.language).unrated(why)) }
            }
        }
        @if let Some(notes) = &module.notes { p.words.grey[is_grey] { (clipped(notes)) } }
        (evidence(asked, rating))
    }
}

/// The calls that a rating rests on.
fn evidence(asked: &Asked, StoredRating { module, .. }: &StoredRating) -> Markup {
    let (words, terms) = (words::modules::words(asked.language), languages::words(asked.language));
    let more = module.calls.len().saturating_sub(CALLS) as u64;
    html! {
        @if module.rating.is_some() && !module.grounded {
            p.grey { (words.is_ungrounded) }
        } @else if !module.calls.is_empty() {
            p.grey {
                (words.rests_on) " "
                @for (position, call) in module.calls.iter().take(CALLS).enumerate() {
                    @if position > 0 { ", " }
                    a href=(asked.run_named(&module.run, Some(*call))) { (terms.call(*call)) }
                }
                @if more > 0 { " " (terms.not_shown(more, "")) }
            }
        }
    }
}

/// Text of several lines, of at most so many characters.
fn clipped(text: &str) -> String {
    let text = printable(text.trim());
    match text.char_indices().nth(NOTES) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
