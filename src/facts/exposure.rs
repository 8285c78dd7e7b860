//! Which runs could have had an issue: those that used a tool at which it was seen up to the window's end.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use crate::facts::{
    detect::RunHit,
    window::{Name, Window},
};

/// Finds the exposed runs of issues. Issues that were seen at the same tools share theirs.
pub(in crate::facts) struct Exposures<'w> {
    window: &'w Window,
    runs_of_tool: HashMap<Name, Vec<u32>>,
    runs_of_tools: HashMap<Vec<Name>, Rc<[u32]>>,
}

/// The runs that hit an issue, with the tools at which they hit it.
#[derive(Default)]
struct Seen {
    hits: Vec<RunHit>,
    tools: BTreeSet<Name>,
}

impl<'w> Exposures<'w> {
    pub(in crate::facts) fn new(window: &'w Window) -> Self {
        let mut runs_of_tool = HashMap::<_, Vec<_>>::new();
        for row in window.tools().all().iter().filter(|row| row.used.calls > 0) {
            runs_of_tool.entry(row.tool).or_default().push(row.run);
        }
        Self { window, runs_of_tool, runs_of_tools: HashMap::new() }
    }

    /// For each issue: its position, the runs that hit it, and the exposed runs, both up to the window's end
    /// and in the order in which they began.
    pub(in crate::facts) fn of_issues(
        &mut self,
    ) -> impl Iterator<Item = (u32, Vec<RunHit>, Rc<[u32]>)> {
        let mut issues: Vec<_> = self.window.issues().iter().map(|_| Seen::default()).collect();
        for hit in self.window.hits().all() {
            let seen = &mut issues[hit.issue as usize];
            seen.tools.extend(&hit.tools);
            match seen.hits.last_mut() {
                Some(last) if last.run == hit.run => {
                    last.calls = last.calls.saturating_add(hit.calls);
                    last.recovered &= hit.recovered;
                }
                _ => seen.hits.push(RunHit {
                    run: hit.run,
                    calls: hit.calls,
                    recovered: hit.recovered,
                    numbers: Box::default(),
                }),
            }
        }
        issues.into_iter().zip(0..).map(|(Seen { hits, tools }, issue)| {
            let exposed = self.exposed(tools.into_iter().collect());
            let exposed = with_hits(exposed, &hits);
            (issue, hits, exposed)
        })
    }

    /// The runs that used any of these tools.
    fn exposed(&mut self, tools: Vec<Name>) -> Rc<[u32]> {
        if let Some(runs) = self.runs_of_tools.get(&tools) {
            return Rc::clone(runs);
        }
        let runs = tools.iter().filter_map(|tool| self.runs_of_tool.get(tool)).flatten();
        let runs: BTreeSet<_> = runs.copied().collect();
        let runs: Rc<[u32]> = runs.into_iter().collect();
        self.runs_of_tools.insert(tools, Rc::clone(&runs));
        runs
    }
}

/// The exposed runs. A run that hit the issue is exposed, whatever its tools say.
pub(in crate::facts) fn with_hits(exposed: Rc<[u32]>, hits: &[RunHit]) -> Rc<[u32]> {
    let is_exposed = |hit: &RunHit| exposed.binary_search(&hit.run).is_ok();
    if hits.iter().all(is_exposed) {
        return exposed;
    }
    let all: BTreeSet<_> = exposed.iter().copied().chain(hits.iter().map(|hit| hit.run)).collect();
    all.into_iter().collect()
}
