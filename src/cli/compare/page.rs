//! A comparison as a text for people who read the log of a deploy job.

use jiff::Timestamp;

use crate::{
    cli::text::{Page, cell, counted, table},
    facts::{
        compare::{Build, Comparison, Fact, Finding, Overall, Pair, SideSummary, Value, Verdict},
        window::Window,
    },
};

/// Longest version of a build, in characters.
const VERSION: usize = 40;
/// Longest name of a tool or module, in characters.
const PLACE: usize = 28;
/// Longest id of a run or a deployment, in characters.
const ID: usize = 36;
/// Longest label of a persona, in characters.
const LABEL: usize = 24;
/// How many builds of a side, and how many personas of a finding, are named.
const NAMED: usize = 3;

/// How far the lines below a fact are indented: to the column that describes the fact.
const INDENT: usize = 9;

/// The verdicts whose facts are listed one by one.
const LISTED: [Verdict; 3] = [Verdict::Worse, Verdict::Watch, Verdict::Better];

/// The text for a comparison.
pub(super) fn render(window: &Window, comparison: &Comparison) -> String {
    let mut page = Page::default();
    page.line(&sentence(window, comparison));
    page.out.push('\n');
    sides(&mut page, comparison);
    confounders(&mut page, window, comparison);
    findings(&mut page, comparison);
    limits(&mut page, comparison);
    page.out
}

/// What the comparison comes to.
pub(super) fn sentence(window: &Window, comparison: &Comparison) -> String {
    let Comparison { a, b, findings, .. } = comparison;
    let since = match &b.deployments[..] {
        // Both sides may be days of the same build, and B may be the older one.
        [build] if a.deployments.iter().all(|it| it.id != build.id && it.from <= build.from) => {
            format!("since {}", name(build))
        }
        _ => "on side B".to_owned(),
    };
    let count = |verdict| findings.iter().filter(|it| it.verdict == verdict).count();
    let facts = counted(findings.len(), "fact");
    match comparison.verdict {
        Overall::Worse => format!("Worse {since}: {} of {facts}", count(Verdict::Worse)),
        Overall::NothingWorse => match count(Verdict::Watch) {
            0 => format!("Nothing worse {since}: 0 of {facts}"),
            watch => format!("Nothing worse {since}: 0 of {facts}, but {watch} to watch"),
        },
        Overall::NotComparable => {
            let why = match (a.runs, b.runs) {
                _ if window.deployments().is_empty() => {
                    "no deployment is known; `mana-persona-runner release VERSION` tells of one"
                }
                (_, 0) => "side B has no run",
                (0, _) => "side A has no run",
                _ => "fewer than half of the personas of the smaller side ran on both sides",
            };
            format!("Not comparable: {why}")
        }
        Overall::NothingTestable if 2 * b.locked_out > b.runs => {
            format!("Nothing testable {since}: {}", locked_out("B", b))
        }
        Overall::NothingTestable => {
            format!("Nothing testable {since}: none of {facts} has enough runs on both sides")
        }
    }
}

fn sides(page: &mut Page, Comparison { a, b, .. }: &Comparison) {
    let row = |(side, of): (&str, &SideSummary)| {
        [
            side.to_owned(),
            some(of.deployments.iter().map(name), "unknown"),
            of.from.zip(of.to).map_or("-".into(), |(from, to)| match from == to {
                true => from.to_string(),
                false => format!("{from} to {to}"),
            }),
            of.runs.to_string(),
            of.personas.to_string(),
        ]
    };
    let rows = [("A", a), ("B", b)].map(row);
    let columns = ["SIDE", "DEPLOYMENTS", "DAYS", ">RUNS", ">PERSONAS"];
    page.out.push_str(&table(columns, &rows));
    for (side, of) in [("A", a), ("B", b)].into_iter().filter(|(_, of)| of.locked_out > 0) {
        page.line(&format!("{}. No fact below shows them.", locked_out(side, of)));
    }
}

/// How many runs of a side were kept out of the product.
fn locked_out(side: &str, of: &SideSummary) -> String {
    let of_runs = format!("{} of {} of side {side}", of.locked_out, counted(of.runs, "run"));
    format!("{of_runs} ended at login, space or session and used nothing of the product")
}

fn name(build: &Build) -> String {
    format!("{} ({})", cell(&build.version, VERSION), cell(&build.id, ID))
}

/// The first names, and how many others there are; `none` without any.
fn some(names: impl ExactSizeIterator<Item = String>, none: &str) -> String {
    let others = names.len().saturating_sub(NAMED);
    let mut list: Vec<_> = names.take(NAMED).collect();
    if others > 0 {
        list.push(format!("+{others}"));
    }
    if list.is_empty() { none.to_owned() } else { list.join(", ") }
}

fn confounders(page: &mut Page, window: &Window, comparison: &Comparison) {
    let day = |at: Timestamp| window.zone().to_datetime(at).date();
    let changed =
        comparison.confounded.iter().map(|it| format!("{} since {}", it.what, day(it.since)));
    let changed: Vec<_> = changed.collect();
    if !changed.is_empty() {
        page.out.push('\n');
        page.line(&format!(
            "Other things changed too, and may be the reason: {}.",
            changed.join(", ")
        ));
    }
}

/// The facts with a verdict, each with the personas and runs that show it, and how many others there are.
fn findings(page: &mut Page, Comparison { findings, .. }: &Comparison) {
    let is_listed = |it: &&Finding| LISTED.contains(&it.verdict);
    let listed: Vec<_> = findings.iter().filter(is_listed).collect();
    if !listed.is_empty() {
        page.out.push('\n');
        let rows: Vec<_> = listed.iter().map(|finding| row(finding)).collect();
        let table = table(["VERDICT", "WHAT", ">A", ">B", "EFFECT", ">P"], &rows);
        let mut lines = table.lines();
        lines.by_ref().take(1).for_each(|head| page.line(head));
        for (line, finding) in lines.zip(listed) {
            page.line(line);
            evidence(page, finding);
        }
    }
    let count = |verdict: Verdict| {
        let count = findings.iter().filter(|it| it.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", meaning(verdict)))
    };
    let others = [Verdict::Unchanged, Verdict::Undecided, Verdict::Untested];
    let others: Vec<_> = others.into_iter().filter_map(count).collect();
    if !others.is_empty() {
        page.out.push('\n');
        page.line(&format!("Not listed: {}.", others.join(", ")));
    }
}

fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unchanged => "unchanged",
        Verdict::Undecided => "undecided (too few runs)",
        Verdict::Untested => "untested (no persona on both sides)",
        listed => listed.as_str(),
    }
}

fn row(finding: &Finding) -> [String; 6] {
    let value = |Value { value, n }: Value| match value {
        Some(value) => format!("{} of {n}", size(finding.fact, value)),
        None => "-".to_owned(),
    };
    let p = |p: f64| if p < 1e-4 { "<0.0001".to_owned() } else { format!("{p:.4}") };
    let unit = if finding.fact == Fact::Rating { "" } else { " points" };
    let effect = finding.effect.map_or("-".into(), |effect| {
        let signed = |value: f64| match finding.fact {
            Fact::Rating => format!("{value:+.1}"),
            _ => format!("{:+.0}", value * 100.0),
        };
        let interval = effect.low.zip(effect.high);
        let interval = interval
            .map_or(String::new(), |(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
        format!("{}{unit}{interval}", signed(effect.value))
    });
    [
        finding.verdict.as_str().to_owned(),
        what(finding),
        value(finding.a),
        value(finding.b),
        effect,
        finding.p_adjusted.map_or("-".into(), p),
    ]
}

/// A share as a percentage, or a mean rating.
fn size(fact: Fact, value: f64) -> String {
    match fact {
        Fact::Rating => format!("{value:.1}"),
        _ => format!("{:.0} %", value * 100.0),
    }
}

fn what(finding: &Finding) -> String {
    let place = finding.tool.as_deref().or(finding.module.as_deref());
    let place = cell(place.unwrap_or("several modules"), PLACE);
    let is_new = finding.verdict != Verdict::Better && finding.a.value.unwrap_or_default() == 0.0;
    match finding.fact {
        Fact::Issue if is_new => format!("{place} has new {}", cell(&finding.id, ID)),
        Fact::Issue => format!("{place} has {}", cell(&finding.id, ID)),
        Fact::Tool => format!("{place} fails"),
        Fact::DeadEnd => format!("{place} fails and does not recover"),
        Fact::Module => format!("tools of {place} fail"),
        Fact::Rating => format!("rating of {place}"),
    }
}

/// For whom a fact changed, and in which runs one can see it.
fn evidence(page: &mut Page, finding: &Finding) {
    let personas = finding.personas.iter().map(|label| cell(label, LABEL));
    if personas.len() > 0 {
        page.line(&format!("{:INDENT$}for {}", "", some(personas, "")));
    }
    let runs = [("before", &finding.before), ("after", &finding.after)];
    let runs = runs.into_iter().filter_map(|(when, example)| {
        example.as_ref().map(|example| format!("{when}: {}", cell(&example.run, ID)))
    });
    let runs: Vec<_> = runs.collect();
    if !runs.is_empty() {
        page.line(&format!("{:INDENT$}{}", "", runs.join(", ")));
    }
}

/// What the comparison could not see.
fn limits(page: &mut Page, comparison: &Comparison) {
    let Comparison { lambda, detectable, .. } = comparison;
    let floor =
        |lambda: Option<f64>| lambda.map_or("unknown".to_owned(), |lambda| format!("{lambda:.2}"));
    let share =
        detectable.share.map_or("none".to_owned(), |it| format!("{:.0} points", it * 100.0));
    let rating = detectable.rating.map_or("none".to_owned(), |it| format!("{it:.1}"));
    page.out.push('\n');
    let Pair { share: shares, rating: ratings } = *lambda;
    page.line(&format!("Noise floor: {} (shares), {} (ratings)", floor(shares), floor(ratings)));
    page.line(&format!(
        "Smallest change to the worse that would have been seen: {share} (share of runs), {rating} (rating)"
    ));
}
