//! A tool call as HTML: folded in the page of its run, or whole on a page of its own.

use maud::{Markup, html};

use super::{
    drawer::{Drawer, NAME},
    excerpt::{Excerpt, HINT, INPUT, RESULT, WHOLE},
    parts::Places,
    story::{Call, Texts},
};
use crate::{
    agent::transcript::Came, domain::clipped_line, report::view::languages, ui::words::frictions,
};

/// The longest beginning of an error beside the name of its tool, in characters.
const ERROR: usize = 90;
/// How many ratings of a call are named.
const MOST_RATINGS: usize = 8;
/// How many hints of a call are shown.
const MOST_HINTS: usize = 4;

/// A call in the page of its run, with texts of at most `most` bytes.
pub(super) fn folded(drawer: &Drawer<'_>, call: &Call<'_>, most: usize, places: &Places) -> Markup {
    let id = call.number.map(|number| format!("call-{number}"));
    let texts = call.texts.as_ref();
    let input = texts.map(|texts| Excerpt::of(&texts.input.text, most.min(INPUT)));
    let result = texts.map(|texts| Excerpt::of(&texts.result.text, most.min(RESULT)));
    let is_cut = |excerpt: &Option<Excerpt>| excerpt.as_ref().is_some_and(|it| it.is_cut);
    let all = call.number.filter(|_| is_cut(&input) || is_cut(&result) || call.is_cut);
    html! {
        details.call.failed[call.has_failed()] id=[id] data-item {
            summary { (summary(drawer, call)) }
            (facts(drawer, call))
            (part(drawer, drawer.words.input, input, texts.map(|texts| texts.input.chars)))
            @if call.came == Came::Back {
                (part(drawer, drawer.words.result, result, texts.map(|texts| texts.result.chars)))
            }
            @if let Some(texts) = texts { (rest(drawer, texts, most.min(HINT))) }
            @if call.is_cut { p.rest { (drawer.words.cut(call.chars)) } }
            @if let Some(number) = all {
                p.rest { a href=(drawer.asked.call(drawer.run, number)) { (drawer.words.show_all) } }
            }
            (ratings(drawer, call, places))
        }
    }
}

/// A call with all that is kept of it.
pub(super) fn whole(drawer: &Drawer<'_>, call: &Call<'_>, places: &Places) -> Markup {
    let words = drawer.words;
    let all = |text: &str| Excerpt::of(text, WHOLE);
    html! {
        p.call.failed[call.has_failed()] { (summary(drawer, call)) }
        (facts(drawer, call))
        @match &call.texts {
            Some(texts) => {
                h2 { (words.input) }
                pre { (all(&texts.input.text).text) }
                @if call.came == Came::Back {
                    h2 { (words.result) }
                    @if call.is_cut { p.note { (words.cut(call.chars)) } }
                    @if texts.result.text.is_empty() {
                        p.note { (words.no_text) }
                    } @else {
                        pre { (all(&texts.result.text).text) }
                    }
                }
                (rest(drawer, texts, WHOLE))
            }
            None => p.note { (words.texts_gone) },
        }
        (ratings(drawer, call, places))
    }
}

/// What a call is, on one line.
fn summary(drawer: &Drawer<'_>, call: &Call<'_>) -> Markup {
    let view = languages::words(drawer.asked.language);
    html! {
        @if let Some(number) = call.number { b { (number) } " " }
        code { bdi { (clipped_line(&call.tool, NAME)) } }
        " " span.how { (how(drawer, call)) }
        @if let Some(next) = call.next { " → " (view.next(next)) }
        @if let Some(latency) = call.latency.filter(|_| call.came == Came::Back) {
            " " span.grey { (drawer.terms.took(latency)) }
        }
        @if let Some(error) = error(call) { " · " span.seen { bdi { (error) } } }
    }
}

/// The beginning of the error of a failed call.
fn error(call: &Call<'_>) -> Option<String> {
    let texts = call.texts.as_ref().filter(|_| call.came == Came::Back && !call.is_ok)?;
    Some(clipped_line(&texts.result.text, ERROR)).filter(|error| !error.is_empty())
}

/// How a call ended.
fn how(drawer: &Drawer<'_>, call: &Call<'_>) -> String {
    let words = drawer.words;
    match call.came {
        Came::NotBackYet => words.not_back_yet.into(),
        Came::Unknown => words.ran_or_not.into(),
        Came::NotMadeYet => words.not_made_yet.into(),
        Came::NotMade => words.not_made.into(),
        Came::Back if call.is_ok => words.ok.into(),
        Came::Back => {
            let why = call.cause.map_or(words.failed, |cause| drawer.terms.cause(cause));
            if call.is_unsure { format!("{why}, {}", words.unsure) } else { why.into() }
        }
    }
}

/// When a call began, and for one that failed why, who is to blame and what happened next.
fn facts(drawer: &Drawer<'_>, call: &Call<'_>) -> Markup {
    let words = drawer.words;
    let view = languages::words(drawer.asked.language);
    let mut told = Vec::new();
    told.extend(call.at.map(|at| drawer.times.second(at)));
    if let Some(cause) = call.cause {
        let frictions = frictions::words(drawer.asked.language);
        told.push(frictions.why(cause).to_owned());
        told.push(format!("{} {}", frictions.blame, drawer.terms.blame(cause.blame())));
    }
    told.extend(call.next.map(|next| format!("{}: {}", words.next, view.next(next))));
    if call.tries > 1 {
        told.push(format!("{}: {}", words.tries, call.tries));
    }
    html! {
        @if !told.is_empty() || call.issue.is_some() {
            p.seen {
                (told.join(" · "))
                @if let Some(issue) = call.issue {
                    " · " (words.friction) " "
                    a href=(drawer.asked.link(&["frictions", issue], &[])) { (clipped_line(issue, NAME)) }
                }
            }
        }
    }
}

/// The input or the result of a call: its beginning, and how long it is.
fn part(
    drawer: &Drawer<'_>,
    title: &str,
    excerpt: Option<Excerpt>,
    chars: Option<usize>,
) -> Markup {
    let excerpt = excerpt.filter(|excerpt| !excerpt.text.is_empty());
    html! {
        @if let (Some(excerpt), Some(chars)) = (excerpt, chars) {
            p.seen {
                (title)
                @if excerpt.is_cut { ": " (drawer.words.beginning(chars)) }
            }
            pre { (excerpt.text) @if excerpt.is_cut { "…" } }
        }
    }
}

/// Images and PDFs of a result, and hints to the model.
fn rest(drawer: &Drawer<'_>, texts: &Texts<'_>, most: usize) -> Markup {
    html! {
        @for (kind, bytes) in &texts.attachments {
            p.note { (drawer.words.attachment(&clipped_line(kind, NAME), *bytes)) }
        }
        @for hint in texts.hints.iter().take(MOST_HINTS) {
            p.seen { (drawer.words.hint) ": " q { (Excerpt::of(hint, most).text) } }
        }
    }
}

/// The ratings that rest on a call.
fn ratings(drawer: &Drawer<'_>, call: &Call<'_>, places: &Places) -> Markup {
    let words = drawer.words;
    let shown = call.ratings.iter().take(MOST_RATINGS);
    let shown = shown.filter_map(|index| Some((*index, drawer.story.ratings.get(*index)?)));
    let more = call.ratings.len().saturating_sub(MOST_RATINGS);
    html! {
        @if !call.ratings.is_empty() {
            p.seen {
                (words.ratings_on_it) ":"
                @for (index, rating) in shown {
                    " "
                    a href=(places.rating(drawer.asked, index, &rating.anchor)) {
                        bdi { (clipped_line(rating.module, NAME)) } ", " (words.of_five(rating.rating))
                    }
                }
                @if more > 0 { " " (words.and_more(more)) }
            }
        }
    }
}
