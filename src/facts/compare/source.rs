//! The facts that are compared, and the value that each run has of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::Fact;
use crate::facts::{
    exposure::Exposures,
    window::{Name, Window},
};

/// One fact that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The position of the issue in the window.
    Issue(u32),
    Tool(Name),
    DeadEnd(Name),
    Module(Name),
    Rating(Name),
}

impl Subject {
    pub(super) fn fact(self) -> Fact {
        match self {
            Self::Issue(_) => Fact::Issue,
            Self::Tool(_) => Fact::Tool,
            Self::DeadEnd(_) => Fact::DeadEnd,
            Self::Module(_) => Fact::Module,
            Self::Rating(_) => Fact::Rating,
        }
    }
}

/// A run, and its value of a fact: 1 or 0, or a rating.
pub(super) type Observation = (u32, u8);

/// The values of all facts, by subject.
pub(super) struct Source<'w> {
    window: &'w Window,
    tools: BTreeMap<Name, Vec<Use>>,
    modules: BTreeMap<Name, Vec<Observation>>,
    ratings: BTreeMap<Name, Vec<Observation>>,
    /// Of each issue: the runs that hit it, and the exposed runs.
    issues: Vec<(Vec<u32>, Rc<[u32]>)>,
}

/// How a run used a tool.
#[derive(Clone, Copy)]
struct Use {
    run: u32,
    failed: bool,
    dead_end: bool,
}

impl<'w> Source<'w> {
    pub(super) fn new(window: &'w Window) -> Self {
        let (mut tools, mut modules) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for row in window.tools().all().iter().filter(|row| row.used.calls > 0) {
            let (run, failed) = (row.run, row.used.failed > 0);
            tools.entry(row.tool).or_default().push(Use {
                run,
                failed,
                dead_end: row.used.dead_end,
            });
            let of_module: &mut Vec<Observation> =
                modules.entry(window.module_of(row.tool)).or_default();
            match of_module.last_mut() {
                Some((last, value)) if *last == run => *value |= u8::from(failed),
                _ => of_module.push((run, failed.into())),
            }
        }
        let mut ratings = BTreeMap::<_, Vec<_>>::new();
        for row in window.modules().all().iter().filter(|row| row.grounded) {
            if let Some(rating) = row.rating {
                ratings.entry(row.module).or_default().push((row.run, rating));
            }
        }
        let mut exposures = Exposures::new(window);
        let issues = exposures
            .of_issues()
            .map(|(_, hits, exposed)| (hits.into_iter().map(|hit| hit.run).collect(), exposed));
        let issues = issues.collect();
        Self { window, tools, modules, ratings, issues }
    }

    /// All facts. Issues that the product is not to blame for are none.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let is_pain = |issue: &u32| self.window.issues()[*issue as usize].cause.is_pain();
        let issues = (0..self.issues.len() as u32).filter(is_pain).map(Subject::Issue);
        let tools =
            self.tools.keys().flat_map(|tool| [Subject::Tool(*tool), Subject::DeadEnd(*tool)]);
        let modules = self.modules.keys().copied().map(Subject::Module);
        issues
            .chain(tools)
            .chain(modules)
            .chain(self.ratings.keys().copied().map(Subject::Rating))
            .collect()
    }

    /// The exposed runs with their values, in the order in which they began.
    pub(super) fn observations(&self, subject: Subject) -> Vec<Observation> {
        let tool = |name: &Name| self.tools.get(name).into_iter().flatten();
        match subject {
            Subject::Issue(issue) => {
                let (hits, exposed) = &self.issues[issue as usize];
                let value = |run: &u32| (*run, u8::from(hits.binary_search(run).is_ok()));
                exposed.iter().map(value).collect()
            }
            Subject::Tool(name) => tool(&name).map(|used| (used.run, used.failed.into())).collect(),
            Subject::DeadEnd(name) => {
                let is_whole = |run| self.window.run(run).outcome.ended_by_itself();
                let whole = tool(&name).filter(|used| is_whole(used.run));
                whole.map(|used| (used.run, used.dead_end.into())).collect()
            }
            Subject::Module(name) => self.modules.get(&name).cloned().unwrap_or_default(),
            Subject::Rating(name) => self.ratings.get(&name).cloned().unwrap_or_default(),
        }
    }

    /// The id of a subject, and its tool and module if it has a single one.
    pub(super) fn names(&self, subject: Subject) -> (String, Option<Name>, Option<Name>) {
        let window = self.window;
        let id = |name: Name| format!("{}:{}", subject.fact().as_str(), window.text(name));
        match subject {
            Subject::Issue(position) => {
                let issue = &window.issues()[position as usize];
                let module = issue.tool.map(|tool| window.module_of(tool));
                (issue.id.to_string(), issue.tool, module.or_else(|| self.only_module(position)))
            }
            Subject::Tool(tool) | Subject::DeadEnd(tool) => {
                (id(tool), Some(tool), Some(window.module_of(tool)))
            }
            Subject::Module(module) | Subject::Rating(module) => (id(module), None, Some(module)),
        }
    }

    /// The module at whose tools the issue was seen, if it is only one.
    fn only_module(&self, issue: u32) -> Option<Name> {
        let hits = self.issues[issue as usize].0.iter().flat_map(|run| self.window.hits().of(*run));
        let tools = hits.filter(|hit| hit.issue == issue).flat_map(|hit| &hit.tools);
        let modules: BTreeSet<_> = tools.map(|tool| self.window.module_of(*tool)).collect();
        modules.first().copied().filter(|_| modules.len() == 1)
    }
}
