//! What is known about each module.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Delta, ModuleReport, RatingReport, TREND_DAYS, Trend, changes::catalog_of, past,
    reliability::why_unrated,
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

/// The modules by name. None of them quotes a persona of `quoted`.
pub(super) fn modules(
    window: &Window,
    tested: &Tested,
    quoted: BTreeSet<u32>,
) -> Vec<ModuleReport> {
    let uses = Uses::of(window);
    let mut quotes = quotes(window, quoted);
    let module = |(name, status): (&str, ModuleStatus)| {
        let rows = window.name(name).and_then(|name| uses.modules.get(&name));
        let rows = rows.map(Vec::as_slice).unwrap_or_default();
        let within: Vec<_> = rows.iter().copied().filter(|row| window.contains(row.run)).collect();
        let is_rated = status == ModuleStatus::Rated;
        let rated = within.iter().filter(|row| row.rating.is_some());
        ModuleReport {
            module: name.to_owned(),
            status,
            personas: personas(window, within.iter().map(|row| row.run)),
            runs: within.len() as u32,
            rating: is_rated.then(|| rating(window, rows)).flatten(),
            friction: status.is_tested().then(|| uses.friction(window, name)).flatten(),
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
            let is_rated = row.grounded && row.rating.is_some();
            tested.used_module(window.text(row.module), persona, is_rated);
        }
        for row in window.tools().of(run).iter().filter(|row| row.used.calls > 0) {
            tested.used_tool(window.text(row.tool), persona);
        }
    }
    tested
}

/// The uses of modules, up to the window's end.
struct Uses<'w> {
    modules: BTreeMap<Name, Vec<&'w ModuleUse>>,
    /// Of each module: the exposed runs of the window, each with whether a tool of the module failed.
    exposed: BTreeMap<Name, Vec<(u32, bool)>>,
}

impl<'w> Uses<'w> {
    fn of(window: &'w Window) -> Self {
        let mut modules = BTreeMap::<_, Vec<_>>::new();
        for row in window.modules().all() {
            modules.entry(row.module).or_default().push(row);
        }
        let mut exposed = BTreeMap::<_, Vec<(u32, bool)>>::new();
        let tools = window.tools().all().iter();
        for row in tools.filter(|row| row.used.calls > 0 && window.contains(row.run)) {
            let runs = exposed.entry(window.module_of(row.tool)).or_default();
            let failed = row.used.failed > 0;
            match runs.last_mut().filter(|(run, _)| *run == row.run) {
                Some((_, any)) => *any |= failed,
                None => runs.push((row.run, failed)),
            }
        }
        Self { modules, exposed }
    }

    fn friction(&self, window: &Window, module: &str) -> Option<Share> {
        let mut tallies = vec![Tally::default(); window.personas().len()];
        for (run, failed) in self.exposed.get(&window.name(module)?)? {
            let tally = &mut tallies[window.run(*run).persona as usize];
            tally.exposed += 1;
            tally.hits += u32::from(*failed);
        }
        Share::of(tallies)
    }
}

fn personas(window: &Window, runs: impl Iterator<Item = u32>) -> usize {
    runs.map(|run| window.run(run).persona).collect::<BTreeSet<_>>().len()
}

/// The grounded ratings of a module, with their runs.
fn grounded(rows: &[&ModuleUse]) -> Vec<(u32, u8)> {
    let rows = rows.iter().filter(|row| row.grounded);
    rows.filter_map(|row| Some((row.run, row.rating?))).collect()
}

/// `rows` are all uses of the module up to the window's end.
fn rating(window: &Window, rows: &[&ModuleUse]) -> Option<RatingReport> {
    let ratings = grounded(rows);
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

/// The notes of grounded ratings, one of each module. A persona of `quoted` is not quoted, and each other one once: for
/// its lowest ratings first, of several as low for the newest.
fn quotes(window: &Window, mut quoted: BTreeSet<u32>) -> BTreeMap<Name, Quote> {
    let rows = window.modules().all().iter();
    let rated = rows.filter(|row| window.contains(row.run) && row.grounded);
    let mut candidates: Vec<_> =
        rated.filter_map(|row| Some((row.rating?, row, row.notes?))).collect();
    candidates.sort_by_key(|(rating, row, _)| (*rating, Reverse(row.run), window.text(row.module)));
    let mut quotes = BTreeMap::new();
    for (_, row, notes) in candidates {
        let persona = window.run(row.run).persona;
        if !quotes.contains_key(&row.module) && quoted.insert(persona) {
            quotes.insert(row.module, quote(window, row, notes));
        }
    }
    quotes
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
    for (run, rating) in grounded(rows) {
        if let Some(position) = trend::position(window, window.run(run).day) {
            days[position].add(rating);
        }
    }
    days.iter().map(|day| day.mean().map(digits::mean)).collect()
}
