//! The rows of the table.

use devstack::worlds::{Fault, PERSONAS, World, is_worse_without_noise};
use mana_persona_runner::facts::compare::{Comparison, Fact, Finding, Overall, Verdict};

/// A kind of world, and what is to be found in it.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) world: World,
    pub(crate) found: fn(&Comparison) -> bool,
    /// The share of worlds in which the implementation of the design found it.
    pub(crate) section_3: Option<f64>,
    /// Whether there is nothing to be found.
    pub(crate) is_false_alarm: bool,
}

/// All rows. Seeds are set by those who use them.
pub(crate) fn rows() -> Vec<Row> {
    let quiet = World::quiet(0);
    let busy = World { rate: 0.1, ..quiet };
    let drifting = World { drift: 1.0, ..quiet };
    let moody = World { rating_drift: 0.4, ..quiet };
    let half = Fault { rate: 0.5, personas: PERSONAS, users: PERSONAS, has_own_issue: true };
    let broken = |days| World { days, fault: Some(half), ..quiet };
    let of_three = |world| {
        let fault = Some(Fault { rate: 1.0, personas: 3, ..half });
        World { fault, ..world }
    };
    let of_one = Fault { rate: 1.0, users: 1, ..half };
    let drop = |world| World { rating_drop: 0.5, ..world };
    let nothing = |what, world, found, section_3| Row {
        what,
        world,
        found,
        section_3: Some(section_3),
        is_false_alarm: true,
    };
    let changed = |what, world, found: fn(&Comparison) -> bool, section_3| Row {
        what,
        world,
        found,
        section_3,
        is_false_alarm: false,
    };
    vec![
        nothing("nothing changed, tools fail in 2 %", quiet, is_worse, 0.005),
        nothing("nothing changed, 10 %", busy, is_worse, 0.005),
        nothing("nothing changed, failures drift by persona and week", drifting, is_worse, 0.030),
        changed("the same, without λ", drifting, is_worse_without_noise, None),
        nothing("nothing changed, ratings drift by persona and week", moody, is_worse, 0.045),
        changed("the same, without λ", moody, is_worse_without_noise, Some(0.23)),
        changed("a tool 2 → 50 %, after 1 day", broken(1), issue, Some(0.33)),
        changed("the same, by the tool", broken(1), tool, None),
        changed("a tool 2 → 50 %, after 2 days", broken(2), issue, Some(0.73)),
        changed("a tool 2 → 50 %, after 3 days", broken(3), issue, Some(0.92)),
        changed("the same, by the tool", broken(3), tool, None),
        changed("a tool 2 → 50 %, after 7 days", broken(7), issue, Some(1.0)),
        changed("broken for 3 of 10, 2 % before, by its own issue", of_three(quiet), issue, None),
        changed("broken for 3 of 10, 2 % before, by the tool", of_three(quiet), tool, None),
        changed(
            "broken for 3 of 10, 10 % before, by its own issue",
            of_three(busy),
            issue,
            Some(0.96),
        ),
        changed("broken for 3 of 10, 10 % before, by the tool", of_three(busy), tool, Some(0.28)),
        changed("a rating 0.5 lower, 2 %", drop(quiet), rating, Some(0.81)),
        changed("a rating 0.5 lower, 10 %", drop(busy), rating, Some(0.81)),
        changed("a rating 0.5 lower, ratings drift, 2 %", drop(moody), rating, Some(0.40)),
        changed(
            "a rating 0.5 lower, ratings drift, 10 %",
            drop(World { rate: busy.rate, ..moody }),
            rating,
            Some(0.40),
        ),
        changed(
            "a tool that only one uses, broken",
            World { fault: Some(of_one), ..quiet },
            any_of_tool,
            Some(0.37),
        ),
    ]
}

fn is_worse(comparison: &Comparison) -> bool {
    comparison.verdict == Overall::Worse
}

fn issue(comparison: &Comparison) -> bool {
    any(comparison, |it| it.fact == Fact::Issue && is_of_tool(it))
}

fn tool(comparison: &Comparison) -> bool {
    any(comparison, |it| it.fact == Fact::Tool && is_of_tool(it))
}

fn any_of_tool(comparison: &Comparison) -> bool {
    any(comparison, is_of_tool)
}

fn rating(comparison: &Comparison) -> bool {
    let module = World::struck_module();
    any(comparison, |it| it.fact == Fact::Rating && it.module.as_ref() == Some(&module))
}

fn is_of_tool(finding: &Finding) -> bool {
    finding.tool.as_ref() == Some(&World::struck_tool())
}

/// Whether any such fact is worse.
fn any(comparison: &Comparison, is: impl Fn(&Finding) -> bool) -> bool {
    comparison.findings.iter().any(|it| it.verdict == Verdict::Worse && is(it))
}
