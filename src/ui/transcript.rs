//! /ui/runs/{id}: what a persona was told, said and did in a run; and /ui/runs/{id}/calls/{number}: all that is kept of
//! one call.
//!
//! A page of a run has at most [`LIMIT`] bytes, whatever the run is. `parts` gives its room to the texts; what has no room
//! even then is in further parts (`?part=2`). An address `#call-7` without a part leads to the first part, which has an
//! entry with this id for each of the next calls that stand in other parts.

mod calls;
mod draw;
mod drawer;
mod excerpt;
mod head;
mod json;
mod kept;
mod parts;
mod story;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use maud::{Markup, html};

use super::{Answer, Live, Page, Place, Ui, asked::Asked, times::Times, trouble::Trouble, words};
use crate::domain::{RunId, RunState};
use drawer::Drawer;
use kept::Kept;
use parts::{ELSEWHERE, LENGTHS, Parts, Places, SHORTEST};
use story::{Item, Reply, Story};

/// The most bytes of a page, its frame included.
const LIMIT: usize = 150_000;
/// The most bytes of the frame.
const FRAME: usize = 9_000;
/// The most bytes of the links to other parts.
const PAGER: usize = 1_500;
/// The most bytes of an entry of the list of calls in other parts.
const ENTRY: usize = 90;

/// The page of a run.
pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let id = RunId::parse(asked.segment("id")).map_err(|_| Trouble::NotFound)?;
    let part = match asked.parameter("part") {
        None => None,
        Some(part) => Some(part.parse().map_err(|_| Trouble::Parameter("part"))?),
    };
    let kept = Kept::read(&ui.journal, id).await?.ok_or(Trouble::NotFound)?;
    let times = ui.times(&asked).await?;
    Ok(answer(&asked, &times, &kept, part))
}

/// The page of a call.
pub(super) async fn call(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let id = RunId::parse(asked.segment("id")).map_err(|_| Trouble::NotFound)?;
    let number = asked.segment("number").parse().map_err(|_| Trouble::NotFound)?;
    let kept = Kept::read(&ui.journal, id).await?.ok_or(Trouble::NotFound)?;
    let times = ui.times(&asked).await?;
    call_answer(&asked, &times, &kept, number).ok_or(Trouble::NotFound)
}

fn answer(asked: &Asked, times: &Times, kept: &Kept, wanted: Option<usize>) -> Answer {
    let story = Story::of(kept);
    let drawer = Drawer::new(asked, times, &story, kept.run.id);
    let head = RunHead::of(&drawer, kept);
    let shown = Shown::of(&drawer, &head, wanted);
    if asked.is_json {
        let items = story.items.get(shown.range.clone()).unwrap_or_default();
        let place = [shown.part, shown.parts];
        return Answer::Json(json::run(kept, &story, items, shown.length, place));
    }
    let live = (kept.run.state == RunState::Running).then(|| Live::Run(kept.run.id.to_string()));
    let title = title(&drawer, kept);
    let main = html! {
        @if shown.part == 1 { (head.first) } @else { (head.other) }
        (pager(&drawer, &shown))
        (shown.items)
        @if wanted.is_none() { (elsewhere(&drawer, &shown)) }
        (pager(&drawer, &shown))
        p.note { (drawer.words.zone(times.zone())) }
    };
    Answer::Page(Page { place: Place::Runs, title, main, live })
}

fn call_answer(asked: &Asked, times: &Times, kept: &Kept, number: u32) -> Option<Answer> {
    let story = Story::of(kept);
    let call = story.call(number)?;
    if asked.is_json {
        return Some(Answer::Json(json::whole_call(call, &story)));
    }
    let drawer = Drawer::new(asked, times, &story, kept.run.id);
    let words = drawer.words;
    let head = RunHead::of(&drawer, kept);
    let places = Shown::of(&drawer, &head, None).places.seen_from_elsewhere(asked, kept.run.id);
    let neighbour = |number: Option<u32>| number.filter(|number| story.numbers.contains(number));
    let address = |number: u32| asked.call(kept.run.id, number);
    let main = html! {
        p.pages {
            a href=(asked.run(kept.run.id, Some(number))) { (words.to_run) }
            @if let Some(number) = neighbour(number.checked_sub(1)) {
                a rel="prev" href=(address(number)) { (words.previous_call) }
            }
            @if let Some(number) = neighbour(number.checked_add(1)) {
                a rel="next" href=(address(number)) { (words.next_call) }
            }
        }
        (calls::whole(&drawer, call, &places))
        p.note { (words.zone(times.zone())) }
    };
    let title = format!("{}, {}", title(&drawer, kept), words.call(number));
    Some(Answer::Page(Page { place: Place::Runs, title, main, live: None }))
}

fn title(drawer: &Drawer<'_>, kept: &Kept) -> String {
    format!("{}, {}", head::label(&kept.run), drawer.times.minute(kept.run.server_at))
}

/// What stands above the items: in the first part, and in the others.
struct RunHead {
    first: Markup,
    other: Markup,
}

impl RunHead {
    fn of(drawer: &Drawer<'_>, kept: &Kept) -> Self {
        let words = drawer.words;
        let [earlier, later] =
            kept.neighbours.map(|run| run.map(|run| drawer.asked.run(run, None)));
        let reload = words::frame::words(drawer.asked.language).reload;
        let other = html! {
            p.pages {
                @if let Some(earlier) = earlier { a rel="prev" href=(earlier) { (words.earlier) } }
                @if let Some(later) = later { a rel="next" href=(later) { (words.later) } }
            }
            @match kept.run.state {
                RunState::Running => p.trouble role="status" {
                    (words.goes_on) " " a href=(drawer.asked.here_with("", None)) { (reload) }
                },
                RunState::RatingOwed => p.trouble role="status" { (words.rating_owed) },
                RunState::Finished | RunState::Failed => {}
            }
        };
        let is_gone = kept.posts.iter().all(|post| !post.is_dead);
        let first = html! {
            (other)
            @if is_gone && head::CameTo::of(kept).is_refused { p.trouble { (words.refused_once) } }
            (head::facts(drawer, kept))
        };
        Self { first, other }
    }
}

/// The part of a page that is shown.
struct Shown {
    /// Its number, from 1, and how many there are.
    part: usize,
    parts: usize,
    range: Range<usize>,
    /// The length of the longest texts, in bytes.
    length: usize,
    items: Markup,
    places: Places,
}

impl Shown {
    /// Divides the page, and draws the wanted part with texts as long as there is room for.
    fn of(drawer: &Drawer<'_>, head: &RunHead, wanted: Option<usize>) -> Self {
        let all = &drawer.story.items;
        let size = |markup: Markup| markup.into_string().len();
        let unknown = Places::unknown();
        let sizes: Vec<_> =
            all.iter().map(|item| size(drawer.item(item, SHORTEST, &unknown))).collect();
        let room = |head: &Markup, rest: usize| LIMIT - FRAME - rest - head.0.len().min(LIMIT / 2);
        let whole = room(&head.first, 0);
        // Each part may begin within a turn, and says so.
        let first = room(&head.first, 2 * PAGER + (ELSEWHERE + 1) * ENTRY);
        let parts = Parts::of(&sizes, whole, [first, room(&head.other, 3 * PAGER)]);
        let part = wanted.unwrap_or(1).clamp(1, parts.count());
        let (range, places) = (parts.range(part), parts.places(drawer.story, part));
        let room = match (part, parts.count()) {
            (_, 1) => whole,
            (1, _) => first,
            _ => room(&head.other, 3 * PAGER),
        };
        let draw = |length: usize| {
            let items = all.get(range.clone()).unwrap_or_default();
            html! {
                (continued(drawer, range.start))
                @for item in items { (drawer.item(item, length, &places)) }
            }
        };
        let has_room = |items: &Markup| items.0.len() <= room;
        let mut drawn = (LENGTHS[0], draw(LENGTHS[0]));
        if !has_room(&drawn.1) {
            let longest = LENGTHS.partition_point(|length| !has_room(&draw(*length)));
            let length = LENGTHS.get(longest).copied().unwrap_or(SHORTEST);
            drawn = (length, draw(length));
        }
        let (length, items) = drawn;
        Self { part, parts: parts.count(), range, length, items, places }
    }
}

/// The headings under which the part stands whose first item has this index, if they are in the part before.
fn continued(drawer: &Drawer<'_>, first: usize) -> Markup {
    let items = &drawer.story.items;
    let is_heading = |item: &&Item<'_>| matches!(item, Item::Heading(_));
    let begins = |item: &&Item<'_>| is_heading(item) || matches!(item, Item::Turn(_));
    let before = items.get(..first).unwrap_or_default();
    let next = items.get(first).filter(|next| !is_heading(next));
    let section = before.iter().rfind(is_heading).filter(|_| next.is_some());
    let turn = before.iter().rfind(begins).filter(|_| next.is_some_and(|next| !begins(&next)));
    let continued = |title: &str| drawer.words.continued(title);
    html! {
        @if let Some(Item::Heading(heading)) = section { h2 { (continued(drawer.heading(*heading))) } }
        @if let Some(Item::Turn(Reply { turn, .. })) = turn {
            h3 { (continued(&drawer.words.turn(turn.number, turn.is_rating))) }
        }
    }
}

/// Links to the other parts.
fn pager(drawer: &Drawer<'_>, shown: &Shown) -> Markup {
    let Shown { part, parts, .. } = *shown;
    let words = drawer.words;
    let others = BTreeSet::from([1, part - 1, part + 1, parts]);
    let others = others.into_iter().filter(|other| *other != part && (1..=parts).contains(other));
    let link = |part: usize| drawer.asked.here_with("part", Some(&part.to_string()));
    html! {
        @if parts > 1 {
            p.pages {
                span { (words.more_parts) " " b { (words.part(part, parts)) } }
                @for other in others { a href=(link(other)) { (words.part(other, parts)) } }
            }
        }
    }
}

/// Entries with the anchors of calls in other parts, so that an address without a part leads to them.
fn elsewhere(drawer: &Drawer<'_>, shown: &Shown) -> Markup {
    let elsewhere = shown.places.elsewhere();
    let words = drawer.words;
    html! {
        @if !elsewhere.is_empty() {
            h2 { (words.calls_elsewhere) }
            ul.key {
                @for (call, _) in elsewhere.iter().take(ELSEWHERE) {
                    li id=(format!("call-{call}")) { a href=(shown.places.call(drawer.asked, *call)) { (call) } }
                }
                @if let Some((call, part)) = elsewhere.get(ELSEWHERE) {
                    li {
                        a href=(drawer.asked.here_with("part", Some(&part.to_string()))) {
                            (words.calls_from(*call, *part))
                        }
                    }
                }
            }
        }
    }
}
