//! What the answers of tools say: how long they took, and how large they were.

use std::collections::HashMap;

use serde::Serialize;

use super::{About, Detector, Finding, RunHit, Window};
use crate::facts::window::Name;

/// Answers that take longer are slow, in milliseconds.
const SLOW_MS: u32 = 2_000;
/// Answers that take longer are slow even if they are few, in milliseconds.
const VERY_SLOW_MS: u32 = 5_000;
/// So many successful calls tell how slow a tool is.
const CALLS: usize = 20;
/// So many runs with a very slow answer, or with a flood.
const RUNS: usize = 3;
/// A result is a flood above this size, in characters, if the persona could have limited it.
const FLOOD_CHARS: u32 = 8_000;

/// A slow tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slow {
    /// The name of the tool.
    pub tool: String,
    /// Half of the successful calls took at most so many milliseconds.
    pub p50_ms: u32,
    /// 95 % of the successful calls took at most so many milliseconds.
    pub p95_ms: u32,
    /// The number of successful calls whose duration is known.
    pub n: usize,
}

/// How long the successful calls of a tool took whose duration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::facts) struct Durations {
    pub(in crate::facts) p50_ms: u32,
    pub(in crate::facts) p95_ms: u32,
}

/// What the successful calls of a tool say.
#[derive(Default)]
struct Answers {
    /// The run, the number and the duration of each call whose duration is known, in milliseconds.
    calls: Vec<(u32, u32, u32)>,
    /// The run and the number of each call.
    floods: Vec<(u32, u32)>,
}

impl Answers {
    /// The duration above which the tool's calls are slow, in milliseconds; `None` if the tool is not slow.
    fn slow_above(&self, p95: u32) -> Option<u32> {
        if self.calls.len() >= CALLS && p95 > SLOW_MS {
            Some(SLOW_MS)
        } else {
            (self.slower_than(VERY_SLOW_MS).len() >= RUNS).then_some(VERY_SLOW_MS)
        }
    }

    /// The runs with calls that took longer.
    fn slower_than(&self, limit: u32) -> Vec<RunHit> {
        let slow = self.calls.iter().filter(|(.., latency)| *latency > limit);
        by_run(slow.map(|(run, number, _)| (*run, *number)))
    }

    /// The durations that 50 % and 95 % of the calls reach at most, in milliseconds.
    fn quantiles(&self) -> (u32, u32) {
        let mut latencies: Vec<_> = self.calls.iter().map(|(.., latency)| *latency).collect();
        latencies.sort_unstable();
        let at = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            rank.checked_sub(1).map_or(0, |rank| latencies[rank])
        };
        (at(50), at(95))
    }
}

fn answers(window: &Window) -> HashMap<Name, Answers> {
    let mut tools = HashMap::<_, Answers>::new();
    for call in window.calls().all().iter().filter(|call| call.ok) {
        let tool = tools.entry(call.tool).or_default();
        tool.calls.extend(call.latency_ms.map(|latency| (call.run, call.number, latency)));
        if call.cut || call.limit_offered && call.chars > FLOOD_CHARS {
            tool.floods.push((call.run, call.number));
        }
    }
    tools
}

/// How long each tool of the window took; without tools of which no duration is known.
pub(in crate::facts) fn durations(window: &Window) -> HashMap<Name, Durations> {
    let known = answers(window).into_iter().filter(|(_, answers)| !answers.calls.is_empty());
    let durations = |(tool, answers): (Name, Answers)| {
        let (p50_ms, p95_ms) = answers.quantiles();
        (tool, Durations { p50_ms, p95_ms })
    };
    known.map(durations).collect()
}

/// The runs of calls, which are given by run and number, in order.
fn by_run(calls: impl Iterator<Item = (u32, u32)>) -> Vec<RunHit> {
    let calls: Vec<_> = calls.collect();
    let of_run = |calls: &[(u32, u32)]| {
        RunHit::of_calls(calls[0].0, calls.iter().map(|(_, number)| *number).collect())
    };
    calls.chunk_by(|a, b| a.0 == b.0).map(of_run).collect()
}

/// The slow tools of the window, slowest first.
pub fn slow(window: &Window) -> Vec<Slow> {
    let slow = |(tool, answers): (Name, Answers)| {
        let (p50_ms, p95_ms) = answers.quantiles();
        answers.slow_above(p95_ms)?;
        let tool = window.text(tool).to_owned();
        Some(Slow { tool, p50_ms, p95_ms, n: answers.calls.len() })
    };
    let mut slow: Vec<_> = answers(window).into_iter().filter_map(slow).collect();
    slow.sort_by(|a, b| b.p95_ms.cmp(&a.p95_ms).then_with(|| a.tool.cmp(&b.tool)));
    slow
}

/// Slow tools and floods.
pub(super) fn findings(window: &Window) -> Vec<Finding> {
    let mut findings = Vec::new();
    let runs = runs_by_tool(window);
    for (tool, answers) in answers(window) {
        let mut find = |detector, hits| {
            let about = About::Tool(tool);
            let exposed = runs.get(&tool).cloned().unwrap_or_default();
            findings.push(Finding { detector, about, hits, exposed });
        };
        if let Some(limit) = answers.slow_above(answers.quantiles().1) {
            find(Detector::Slow, answers.slower_than(limit));
        }
        let floods = by_run(answers.floods.into_iter());
        if floods.len() >= RUNS {
            find(Detector::Flood, floods);
        }
    }
    findings
}

/// The runs of the window that used each tool, in order.
fn runs_by_tool(window: &Window) -> HashMap<Name, Vec<u32>> {
    let mut tools = HashMap::<_, Vec<_>>::new();
    let rows = window.tools().all().iter();
    for row in rows.filter(|row| row.used.calls > 0 && window.contains(row.run)) {
        tools.entry(row.tool).or_default().push(row.run);
    }
    tools.values_mut().for_each(Vec::dedup);
    tools
}
