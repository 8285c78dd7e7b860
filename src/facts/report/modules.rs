//! What is known about each module.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Delta, ModuleReport, RatingReport, TREND_DAYS, Trend,
    changes::catalog_of,
    past,
    reliability::why_unrated,
    uses::{Exposed, Uses, grounded},
};
use crate::{
    facts::{
        compare::{seed, strata},
        coverage::{ModuleStatus, Tested},
        digits,
        frictions::Quote,
        share::{Share, Tally},
        trend,
        window::{ModuleUse, Name, Window},
    },
    statistics::{Histogram, Stratum, difference, interval},
};

/// The modules by name.
pub(super) fn modules(window: &Window, uses: &Uses<'_>, tested: &Tested) -> Vec<ModuleReport> {
    let mut quotes = quotes(window);
    let module = |(name, status): (&str, ModuleStatus)| {
        let rows = uses.rows(name);
        let within: Vec<_> = rows.iter().copied().filter(|row| window.contains(row.run)).collect();
        let exposed = uses.exposed(name).iter().filter(|it| window.contains(it.run));
        let exposed: Vec<_> = exposed.copied().collect();
        let is_rated = status == ModuleStatus::Rated;
        let rated = within.iter().filter(|row| row.rating.is_some());
        ModuleReport {
            module: name.to_owned(),
            status,
            personas: personas(window, exposed.iter().map(|it| it.run)),
            runs: exposed.len() as u32,
            rating: is_rated.then(|| rating(window, rows)).flatten(),
            friction: status.is_tested().then(|| friction(window, &exposed)).flatten(),
            quote: window.name(name).and_then(|name| quotes.remove(&name)),
            ungrounded: rated.filter(|row| !row.grounded).count() as u32,
            unrated: why_unrated(within.iter().copied()),
            trend: rating_trend(window, if is_rated { rows } else { &[] }),
        }
    };
    tested.modules().map(module).collect()
}

/// Everything that was offered, liked or used.
pub(super) fn tested(window: &Window) -> Tested {
    let mut tested = Tested::default();
    let runs: Vec<_> = window.runs_within().collect();
    let offered = runs.iter().filter_map(|run| catalog_of(window, *run));
    let mut catalogs: BTreeMap<_, _> = offered.map(|catalog| (&catalog.id, catalog)).collect();
    if catalogs.is_empty() {
        // Nobody ran: the newest list that is known, so that every module appears.
        let newest = (0..window.runs().len() as u32).rev().find_map(|run| catalog_of(window, run));
        let known = newest.map_or(window.catalogs(), std::slice::from_ref);
        catalogs.extend(known.iter().map(|catalog| (&catalog.id, catalog)));
    }
    catalogs.into_values().for_each(|catalog| tested.catalog(catalog));
    let favourites = window.personas().iter().flat_map(|persona| persona.mix.keys());
    favourites.for_each(|module| tested.favourite(module));
    for run in runs {
        let persona = window.run(run).persona;
        for row in window.modules().of(run) {
            tested.named_module(window.text(row.module), row.grounded && row.rating.is_some());
        }
        let tools = || window.tools().of(run).iter().filter(|row| row.used.calls > 0);
        let modules: BTreeSet<_> = tools().map(|row| window.module_of(row.tool)).collect();
        modules.into_iter().for_each(|name| tested.used_module(window.text(name), persona));
        tools().for_each(|row| tested.used_tool(window.text(row.tool), persona));
    }
    tested
}

fn friction(window: &Window, exposed: &[Exposed]) -> Option<Share> {
    let mut tallies = vec![Tally::default(); window.personas().len()];
    for Exposed { run, failed } in exposed {
        let tally = &mut tallies[window.run(*run).persona as usize];
        tally.exposed += 1;
        tally.hits += u32::from(*failed);
    }
    Share::of(tallies)
}

fn personas(window: &Window, runs: impl Iterator<Item = u32>) -> usize {
    runs.map(|run| window.run(run).persona).collect::<BTreeSet<_>>().len()
}

/// `rows` are all uses of the module up to the window's end.
fn rating(window: &Window, rows: &[&ModuleUse]) -> Option<RatingReport> {
    let ratings: Vec<_> = grounded(rows.iter().copied()).collect();
    let within = || ratings.iter().filter(|(run, _)| window.contains(*run));
    let mut histogram = Histogram::default();
    within().for_each(|(_, rating)| histogram.add(*rating));
    let strata = strata(window, &ratings, |run| past::side(window, run));
    Some(RatingReport {
        mean: digits::mean(histogram.mean()?),
        n: histogram.runs(),
        personas: personas(window, within().map(|(run, _)| *run)),
        delta: delta(&strata, seed([window.from(), window.to()].into_iter())),
    })
}

fn delta(strata: &[Stratum], seed: u64) -> Option<Delta> {
    let both: Vec<_> = strata.iter().copied().filter(Stratum::is_on_both_sides).collect();
    let interval = interval(&both, seed);
    let mut points: Vec<_> = match interval {
        Some(_) => Vec::new(),
        None => {
            both.iter().filter_map(|it| Some(digits::mean(it.b.mean()? - it.a.mean()?))).collect()
        }
    };
    points.sort_by(f64::total_cmp);
    Some(Delta {
        value: digits::mean(difference(&both)?),
        low: interval.map(|it| digits::mean(it.low)),
        high: interval.map(|it| digits::mean(it.high)),
        n: both.iter().map(|it| it.b.runs()).sum(),
        personas: both.len(),
        points,
    })
}

/// For each module the notes of its lowest grounded rating in a run that used it; of several, the newest of a persona that no other module
/// quotes. The modules with the lowest ratings come first, so that of a persona the worst is quoted. A module whose
/// lowest ratings are all of personas that are quoted already has no quote.
fn quotes(window: &Window) -> BTreeMap<Name, Quote> {
    let rows = window.modules().all().iter();
    let is_used = |row: &&ModuleUse| {
        let mut tools = window.tools().of(row.run).iter();
        tools.any(|it| it.used.calls > 0 && window.module_of(it.tool) == row.module)
    };
    let rated = rows.filter(|row| window.contains(row.run) && row.grounded).filter(is_used);
    let mut lowest = BTreeMap::<Name, (u8, Vec<&ModuleUse>)>::new();
    for (row, rating) in rated.filter_map(|row| Some((row, row.rating?))) {
        let (least, rows) = lowest.entry(row.module).or_insert((rating, Vec::new()));
        if rating < *least {
            (*least, *rows) = (rating, Vec::new());
        }
        if rating == *least {
            rows.push(row);
        }
    }
    let mut lowest: Vec<_> = lowest.into_iter().collect();
    lowest.sort_by_key(|(module, (rating, _))| (*rating, window.text(*module)));
    let mut quoted = BTreeSet::new();
    let quote = |(module, (_, rows)): (Name, (u8, Vec<&ModuleUse>))| {
        let with_notes = rows.into_iter().rev().filter_map(|row| Some((row, row.notes?)));
        let mut of_others =
            with_notes.filter(|(row, _)| quoted.insert(window.run(row.run).persona));
        let (row, notes) = of_others.next()?;
        Some((module, quote(window, row, notes)))
    };
    lowest.into_iter().filter_map(quote).collect()
}

fn quote(window: &Window, row: &ModuleUse, notes: Name) -> Quote {
    let run = window.run(row.run);
    // Nobody can look at a call that is no longer kept.
    let is_kept = !window.calls().of(row.run).is_empty();
    Quote {
        persona: window.personas()[run.persona as usize].label.clone(),
        text: window.text(notes).to_owned(),
        run: window.text(run.id).to_owned(),
        call: row.calls.first().copied().filter(|_| is_kept),
        at: run.at,
    }
}

/// The mean of the grounded ratings of each day.
fn rating_trend(window: &Window, rows: &[&ModuleUse]) -> Trend {
    let mut days = vec![Histogram::default(); TREND_DAYS];
    for (run, rating) in grounded(rows.iter().copied()) {
        if let Some(position) = trend::position(window, window.run(run).day) {
            days[position].add(rating);
        }
    }
    days.iter().map(|day| day.mean().map(digits::mean)).collect()
}
