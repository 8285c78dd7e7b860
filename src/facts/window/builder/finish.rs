//! Brings the rows of a window into an order that does not depend on the order of the lines.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use jiff::{Timestamp, civil::Date};

use super::{
    Builder, Call, Days, Hit, ImpossibleWindow, NAME, Name, Sighting, ToolUse, Window, days, derive,
};
use crate::{domain::ToolName, facts::window::rows::ByRun};

pub(super) fn finish(mut all: Builder, wanted: Days) -> Result<Window, ImpossibleWindow> {
    for run in &mut all.runs {
        run.day = days::date(run.server_time.unwrap_or(run.at), &all.zone);
    }
    let newest_day = newest_day(&all);
    let (from, to) = wanted.resolve(newest_day)?;
    let end = to.tomorrow().and_then(|day| day.to_zoned(all.zone.clone()));
    let end = end.map_or(Timestamp::MAX, |end| end.timestamp());

    sort_personas(&mut all);
    sort_runs(&mut all, to);
    all.calls.sort_unstable_by_key(|call| (call.run, call.number));
    sort_issues(&mut all);
    derive_missing(&mut all);
    all.hits.sort_unstable_by_key(|row| (row.run, row.issue));
    find_first(&mut all);
    all.calls.retain(|call| all.runs[call.run as usize].day >= from);
    let module_of_tool = modules_of_tools(&mut all);
    let names = &all.names;
    // A stable sort would need as much room again.
    all.modules.sort_unstable_by_key(|row| (row.run, names.text(row.module)));
    all.tools.sort_unstable_by_key(|row| (row.run, names.text(row.tool)));
    all.absences.sort_by_key(|absence| (names.text(absence.slot), absence.persona, absence.why));
    all.catalogs.sort_by(|a, b| a.id.cmp(&b.id));
    // An export has those of the same time in the order in which the runner met them, which their ids do not tell.
    all.deployments.sort_by_key(|deployment| deployment.at);
    all.ticks.sort_unstable();

    let runs = all.runs.len();
    Ok(Window {
        from,
        to,
        newest_day,
        end,
        zone: all.zone,
        names: all.names,
        module_of_tool,
        personas: all.personas,
        runs: all.runs,
        calls: ByRun::new(all.calls, runs, |row| row.run),
        modules: ByRun::new(all.modules, runs, |row| row.run),
        tools: ByRun::new(all.tools, runs, |row| row.run),
        hits: ByRun::new(all.hits, runs, |row| row.run),
        issues: all.issues.into_iter().map(|issue| issue.issue).collect(),
        catalogs: all.catalogs,
        deployments: all.deployments,
        absences: all.absences,
        ticks: all.ticks,
    })
}

/// The newest day of the facts: of a run's begin or end, a call, a deployment, an absence or a tick.
fn newest_day(all: &Builder) -> Option<Date> {
    let deployments = all.deployments.iter().map(|deployment| deployment.at);
    let times = deployments.chain(all.ticks.iter().copied()).chain(all.newest);
    let newest = times.max().map(|at| days::date(at, &all.zone));
    let slots = all.absences.iter().map(|absence| all.names.text(absence.slot));
    let slots = slots.filter_map(|slot| days::of_slot(slot, &all.zone));
    slots.chain(newest).max()
}

/// Sorts the personas by id.
fn sort_personas(all: &mut Builder) {
    let order = sorted(&all.personas, |a, b| a.id.cmp(&b.id));
    let new = positions(&order);
    all.personas = in_order(mem::take(&mut all.personas), &order);
    all.runs.iter_mut().for_each(|run| run.persona = new[run.persona as usize]);
    all.absences.iter_mut().for_each(|it| it.persona = new[it.persona as usize]);
}

/// Sorts the runs by their begin and leaves out those after the window.
fn sort_runs(all: &mut Builder, to: Date) {
    let names = &all.names;
    // Those after the window come last, where they can be cut off.
    let order = sorted(&all.runs, |a, b| {
        let begin = (a.day > to, a.at).cmp(&(b.day > to, b.at));
        begin.then_with(|| names.text(a.id).cmp(names.text(b.id)))
    });
    let new = positions(&order);
    all.runs = in_order(mem::take(&mut all.runs), &order);
    let count = all.runs.partition_point(|run| run.day <= to);
    all.runs.truncate(count);
    let is_kept = |run: &mut u32| {
        *run = new[*run as usize];
        (*run as usize) < count
    };
    all.calls.retain_mut(|row| is_kept(&mut row.run));
    all.modules.retain_mut(|row| is_kept(&mut row.run));
    all.tools.retain_mut(|row| is_kept(&mut row.run));
    all.hits.retain_mut(|row| is_kept(&mut row.run));
}

/// Sorts the issues by id, each with its mutes.
fn sort_issues(all: &mut Builder) {
    let order = sorted(&all.issues, |a, b| a.issue.id.cmp(&b.issue.id));
    let new = positions(&order);
    all.issues = in_order(mem::take(&mut all.issues), &order);
    for call in &mut all.calls {
        call.issue = call.issue.map(|issue| new[issue as usize]);
    }
    all.hits.iter_mut().for_each(|hit| hit.issue = new[hit.issue as usize]);
    for issue in &mut all.issues {
        issue.issue.mutings = all.mutes.remove(&*issue.issue.id).unwrap_or_default();
    }
}

/// Derives the tools and hits of the runs without such lines from the calls, and the tools of hits that do not
/// name them.
fn derive_missing(all: &mut Builder) {
    let runs = all.runs.len();
    let (mut has_tools, mut has_hits) = (vec![false; runs], vec![false; runs]);
    all.tools.iter().for_each(|row| has_tools[row.run as usize] = true);
    all.hits.iter().for_each(|row| has_hits[row.run as usize] = true);
    let mut attempts = Vec::new();
    for calls in all.calls.chunk_by(|a, b| a.run == b.run) {
        let run = calls[0].run;
        attempts.clear();
        attempts.extend(calls.iter().map(|call| call.attempt()));
        if !has_tools[run as usize] {
            let tools = derive::tools(&attempts).into_iter();
            all.tools.extend(tools.map(|(tool, used)| ToolUse { run, tool, used }));
        }
        if !has_hits[run as usize] {
            all.hits.extend(derive::hits(&attempts).into_iter().map(|met| Hit {
                run,
                issue: met.issue,
                calls: met.calls,
                recovered: met.recovered,
                tools: met.tools.into(),
            }));
        }
    }
    name_tools_of_hits(all);
}

/// Names the tools of hits that name none: the issue's tool, or else the tools of the run's calls that failed with
/// the issue. Of a run whose calls are not there: the tools that failed in the run.
fn name_tools_of_hits(all: &mut Builder) {
    all.tools.sort_unstable_by_key(|row| row.run);
    for hit in all.hits.iter_mut().filter(|hit| hit.tools.is_empty()) {
        if let Some(tool) = all.issues[hit.issue as usize].issue.tool {
            hit.tools = [tool].into();
            continue;
        }
        let calls = calls_of(&all.calls, hit.run);
        let failed = calls.iter().filter(|call| call.issue == Some(hit.issue));
        let mut tools: BTreeSet<_> = failed.map(|call| call.tool).collect();
        if calls.is_empty() {
            let first = all.tools.partition_point(|row| row.run < hit.run);
            let of_run = all.tools[first..].iter().take_while(|row| row.run == hit.run);
            tools.extend(of_run.filter(|row| row.used.failed > 0).map(|row| row.tool));
        }
        hit.tools = tools.into_iter().collect();
    }
}

/// The first failure of each issue whose line does not name it: the earliest of the runs' first calls with the issue.
/// A run whose calls are not there counts with its begin.
fn find_first(all: &mut Builder) {
    let unknown: Vec<_> = all.issues.iter().map(|issue| issue.issue.first.is_none()).collect();
    for hit in all.hits.iter().filter(|hit| unknown[hit.issue as usize]) {
        let run = &all.runs[hit.run as usize];
        let calls = calls_of(&all.calls, hit.run);
        let call = calls.iter().find(|call| call.issue == Some(hit.issue));
        let text = |name| all.names.text(name).to_owned();
        let seen = Sighting {
            at: call.map_or(run.at, |call| call.at),
            run: Some(text(run.id)),
            call: call.map(|call| call.number),
            deployment: run.deployment.map(text),
        };
        let first = &mut all.issues[hit.issue as usize].issue.first;
        if first.as_ref().is_none_or(|first| seen < *first) {
            *first = Some(seen);
        }
    }
}

/// The calls of a run. `calls` are in the order of their runs.
fn calls_of(calls: &[Call], run: u32) -> &[Call] {
    let first = calls.partition_point(|call| call.run < run);
    let count = calls[first..].partition_point(|call| call.run == run);
    &calls[first..first + count]
}

/// The module of each tool: that of the tool's newest call in the window, or else the beginning of its name.
fn modules_of_tools(all: &mut Builder) -> HashMap<Name, Name> {
    let mut modules: HashMap<_, _> =
        all.calls.iter().map(|call| (call.tool, call.module)).collect();
    let of_issues = all.issues.iter().filter_map(|issue| issue.issue.tool);
    let of_hits = all.hits.iter().flat_map(|hit| hit.tools.iter().copied());
    let tools: HashSet<_> =
        of_issues.chain(of_hits).chain(all.tools.iter().map(|row| row.tool)).collect();
    for tool in tools {
        modules.entry(tool).or_insert_with(|| {
            let module = ToolName::new(all.names.text(tool)).module();
            all.names.add(module.as_str(), NAME)
        });
    }
    modules
}

/// The positions of `rows` in the order of `compare`.
fn sorted<T>(rows: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by(|a, b| compare(&rows[*a as usize], &rows[*b as usize]));
    order
}

/// The new position of each old one.
fn positions(order: &[u32]) -> Vec<u32> {
    let mut new = vec![0; order.len()];
    for (position, old) in order.iter().enumerate() {
        new[*old as usize] = position as u32;
    }
    new
}

/// `rows` in this order.
fn in_order<T>(rows: Vec<T>, order: &[u32]) -> Vec<T> {
    if order.is_sorted() {
        return rows;
    }
    let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
    order.iter().filter_map(|old| rows[*old as usize].take()).collect()
}
