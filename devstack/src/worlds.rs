//! Simulated worlds, as the lines of an export: a fleet whose tools fail and whose modules are rated by chance, before
//! and after a deployment of the product. What the deployment changed is known, so that they show how often a
//! comparison finds it, and how often it finds what is not there.
//!
//! Ten personas run once a day, for 28 days before the deployment and some days after it. In a run, each of 33 tools is
//! used with probability 0.4, and each of the ten modules of which it used a tool is rated.

mod lines;

use mana_persona_runner::{
    facts::{
        compare::{Comparison, Fact, Finding, compare},
        line::Line,
        window::{Builder, Days},
    },
    statistics::holm,
};

use crate::chance::Chance;
use lines::Lines;

/// Number of personas.
pub const PERSONAS: usize = 10;
const TOOLS: usize = 33;
const MODULES: usize = 10;
/// Days before the deployment.
const BEFORE: usize = 28;
const WEEK: usize = 7;
/// The tool that a [`Fault`] strikes, and the module whose ratings fall.
const STRUCK: usize = 0;
/// The probability that a run uses a tool.
const USED: f64 = 0.4;
/// The probability that a tool that failed in a run succeeds later in it. Nothing follows from it but how many of the
/// failures are dead ends.
const RECOVERED: f64 = 0.5;
/// Mean and standard deviation of the personas' mean ratings.
const MEAN_RATING: (f64, f64) = (3.8, 0.5);
/// The level at which a family of tests is rejected.
const ALPHA: f64 = 0.05;
/// Standard deviation of a persona's ratings.
const RATING: f64 = 0.7;

/// A simulated world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct World {
    /// All worlds of a seed have the same chance: they differ only in what the other fields say.
    pub seed: u64,
    /// Days after the deployment.
    pub days: usize,
    /// The share of the runs using a tool in which it fails, 0 to 1.
    pub rate: f64,
    /// By how much the logit of the rate varies between tools, personas and weeks: a standard deviation.
    pub drift: f64,
    /// By how much mean ratings vary between personas and weeks: a standard deviation.
    pub rating_drift: f64,
    /// What the deployment broke.
    pub fault: Option<Fault>,
    /// By how much the mean rating of [`Self::struck_module`] is lower after the deployment.
    pub rating_drop: f64,
}

/// A tool that fails more often after the deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Its rate after the deployment, 0 to 1.
    pub rate: f64,
    /// For how many personas.
    pub personas: usize,
    /// How many personas use the tool at all.
    pub users: usize,
    /// Whether the new failures are an issue of their own. Otherwise they look like the tool's other failures.
    pub has_own_issue: bool,
}

impl World {
    /// A world of this seed, in which tools fail in 2 % of runs and the deployment, seven days ago, changed nothing.
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            days: WEEK,
            rate: 0.02,
            drift: 0.0,
            rating_drift: 0.0,
            fault: None,
            rating_drop: 0.0,
        }
    }

    /// The name of the tool that a fault strikes.
    pub fn struck_tool() -> String {
        lines::tool(STRUCK)
    }

    /// The module whose ratings fall, to which that tool belongs.
    pub fn struck_module() -> String {
        lines::module(STRUCK % MODULES)
    }

    /// The facts of the world.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Lines::new();
        let mut tools: Vec<_> = pairs(TOOLS).map(|at| Tool::new(self, at)).collect();
        let mut personas: Vec<_> = (0..PERSONAS).map(|persona| Mood::new(self, persona)).collect();
        let mut ratings: Vec<_> =
            pairs(MODULES).map(|at| self.chance("rating", at.persona, at.what)).collect();
        for day in 0..BEFORE + self.days {
            for (persona, mood) in personas.iter_mut().enumerate() {
                lines.begin_run(persona, day);
                for tool in tools.iter_mut().filter(|tool| tool.at.persona == persona) {
                    if let Some(end) = tool.on(self, day) {
                        lines.use_tool(tool.at.what, end);
                    }
                }
                let mean = mood.on(self, day);
                for module in 0..MODULES {
                    let drop = if day >= BEFORE && module == STRUCK % MODULES {
                        self.rating_drop
                    } else {
                        0.0
                    };
                    let chance = &mut ratings[module * PERSONAS + persona];
                    lines.rate(module, mean - drop + RATING * chance.normal());
                }
            }
        }
        lines.finish()
    }

    /// What a comparison with the days before the deployment says.
    ///
    /// # Errors
    ///
    /// If the lines are not those of an export, which is an error of this module.
    pub fn compared(&self) -> Result<Comparison, String> {
        let mut builder = Builder::default();
        for line in self.lines() {
            builder.take(line)?;
        }
        let all = Days::Last((BEFORE + self.days) as u32);
        let window = builder.finish(all).map_err(|error| error.to_string())?;
        compare(&window, None, None).map_err(|error| error.to_string())
    }

    fn chance(&self, purpose: &str, persona: usize, what: usize) -> Chance {
        Chance::named(self.seed, purpose, (what * PERSONAS + persona) as u64)
    }
}

/// Whether a fact is so much worse that it would be called worse if its p-value were sufficient: one of at most 0.05
/// where `adjust` has adjusted all p-values of the facts that can be tested.
fn is_any_worse(comparison: &Comparison, adjust: impl Fn(&[f64]) -> Vec<f64>) -> bool {
    let tested: Vec<_> = comparison.findings.iter().filter(|it| it.p_adjusted.is_some()).collect();
    // A fact that became better is also tested for "worse", where it shows nothing.
    let p = |finding: &&Finding| finding.p.filter(|_| towards_worse(finding) > 0.0).unwrap_or(1.0);
    let p: Vec<_> = tested.iter().map(p).collect();
    let mut adjusted = tested.into_iter().zip(adjust(&p));
    adjusted.any(|(finding, p)| p <= ALPHA && towards_worse(finding) >= least(finding.fact))
}

/// Whether a fact would be worse if the noise floor were 1. The facts that can be tested are taken from `comparison`,
/// whose noise floor may leave out some.
pub fn is_worse_without_noise(comparison: &Comparison) -> bool {
    is_any_worse(comparison, holm)
}

/// Whether a fact would be worse if the noise floor were 1 and it were the only fact.
pub fn is_worse_without_family(comparison: &Comparison) -> bool {
    is_any_worse(comparison, <[f64]>::to_vec)
}

/// By how much a fact is worse.
fn towards_worse(finding: &Finding) -> f64 {
    let effect = finding.effect.map_or(0.0, |effect| effect.value);
    if finding.fact == Fact::Rating { -effect } else { effect }
}

/// The smallest effect that a verdict needs.
fn least(fact: Fact) -> f64 {
    if fact == Fact::Rating { 0.3 } else { 0.1 }
}

/// A persona, and a tool or module.
#[derive(Clone, Copy)]
struct At {
    persona: usize,
    what: usize,
}

/// All personas with all of `count` tools or modules.
fn pairs(count: usize) -> impl Iterator<Item = At> {
    (0..count).flat_map(|what| (0..PERSONAS).map(move |persona| At { persona, what }))
}

/// How a run's use of a tool ended.
#[derive(Clone, Copy)]
enum End {
    Success,
    Failure { is_fault: bool, is_recovered: bool },
}

/// A persona's use of a tool.
struct Tool {
    at: At,
    chance: Chance,
    /// The share of runs in which it fails this week.
    rate: f64,
}

impl Tool {
    fn new(world: &World, at: At) -> Self {
        Self { at, chance: world.chance("tool", at.persona, at.what), rate: world.rate }
    }

    /// How the persona's run of a day uses it. `None` if it does not.
    fn on(&mut self, world: &World, day: usize) -> Option<End> {
        if day.is_multiple_of(WEEK) {
            let logit = (world.rate / (1.0 - world.rate)).ln() + world.drift * self.chance.normal();
            self.rate = 1.0 / (1.0 + (-logit).exp());
        }
        let fault = world.fault.filter(|_| self.at.what == STRUCK);
        let has_it = fault.is_none_or(|fault| self.at.persona < fault.users);
        let fault = fault.filter(|fault| day >= BEFORE && self.at.persona < fault.personas);
        // Always as many draws, so that a fault does not change anything else.
        let (used, recovered) = (self.chance.holds(USED), self.chance.holds(RECOVERED));
        let failed = self.chance.holds(fault.map_or(self.rate, |fault| fault.rate));
        let end = if failed {
            let is_fault = fault.is_some_and(|fault| fault.has_own_issue);
            End::Failure { is_fault, is_recovered: recovered }
        } else {
            End::Success
        };
        Some(end).filter(|_| used && has_it)
    }
}

/// What a persona's ratings are like.
struct Mood {
    chance: Chance,
    mean: f64,
    /// How far this week is from the mean.
    week: f64,
}

impl Mood {
    fn new(world: &World, persona: usize) -> Self {
        let mut chance = world.chance("mood", persona, 0);
        let (mean, deviation) = MEAN_RATING;
        let mean = mean + deviation * chance.normal();
        Self { chance, mean, week: 0.0 }
    }

    /// The mean rating on a day.
    fn on(&mut self, world: &World, day: usize) -> f64 {
        if day.is_multiple_of(WEEK) {
            self.week = world.rating_drift * self.chance.normal();
        }
        self.mean + self.week
    }
}
