//! A comparison as a text for people who read the log of a deploy job.

use jiff::Timestamp;

use crate::{
    cli::text::{Page, cell, counted, table},
    facts::{
        compare::{
            Build, Comparison, Example, Fact, Finding, Overall, SideSummary, Value, Verdict, WhyNot,
        },
        window::Window,
    },
};

/// Longest version of a build, in characters.
const VERSION: usize = 40;
/// Longest name of a tool or module, in characters.
const PLACE: usize = 28;
/// Longest id of an issue or a deployment, in characters.
const ID: usize = 36;
/// Longest id of a run, in characters. It must be whole for `show`.
const RUN: usize = 72;
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
    page.line(&sentence(comparison));
    page.out.push('\n');
    sides(&mut page, comparison);
    confounders(&mut page, window, comparison);
    findings(&mut page, comparison);
    limits(&mut page, comparison);
    page.out
}

/// What the comparison comes to.
pub(super) fn sentence(comparison: &Comparison) -> String {
    let Comparison { b, findings, .. } = comparison;
    let since = comparison.since();
    let since = since.map_or("on side B".to_owned(), |build| format!("since {}", name(build)));
    let facts = counted(findings.len(), "fact");
    let but = match comparison.is_more_locked_out() {
        true => format!(", but {}", locked_out("B", b)),
        false => String::new(),
    };
    match comparison.verdict {
        Overall::Worse => {
            format!("Worse {since}: {} of {facts}{but}", comparison.count(Verdict::Worse))
        }
        Overall::NothingWorse => match comparison.count(Verdict::Watch) {
            0 => format!("Nothing worse {since}: 0 of {facts}{but}"),
            watch => format!("Nothing worse {since}: 0 of {facts}, {watch} to watch{but}"),
        },
        Overall::NotComparable => {
            let why = match comparison.why_not() {
                WhyNot::NoDeployment => {
                    "no deployment is known; `mana-persona-runner release VERSION` tells of one"
                }
                WhyNot::NoRunOfB => "side B has no run",
                WhyNot::NoRunOfA => "side A has no run",
                WhyNot::TooFewPersonas => {
                    "fewer than half of the personas of the smaller side ran on both sides"
                }
            };
            format!("Not comparable: {why}")
        }
        Overall::NothingTestable if !but.is_empty() => {
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
            latest(&of.deployments),
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
}

/// How many runs of a side were kept out of the product.
fn locked_out(side: &str, of: &SideSummary) -> String {
    let of_runs = format!("{} of {} of side {side}", of.locked_out, counted(of.runs, "run"));
    format!("{of_runs} ended at login, space or session and used nothing of the product")
}

fn name(build: &Build) -> String {
    format!("{} ({})", cell(&build.version, VERSION), cell(&build.id, ID))
}

/// The latest deployments, and how many there are before them.
fn latest(deployments: &[Build]) -> String {
    let before = deployments.len().saturating_sub(NAMED);
    let names = deployments[before..].iter().map(name);
    let names = (before > 0).then(|| format!("{before} more")).into_iter().chain(names);
    match deployments {
        [] => "unknown".to_owned(),
        _ => names.collect::<Vec<_>>().join(", "),
    }
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
fn findings(page: &mut Page, comparison: &Comparison) {
    let findings = &comparison.findings;
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
        let count = comparison.count(verdict);
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
        Verdict::Untested => "untested (no persona has them on both sides)",
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
            // The sum with 0 has no sign if it is 0.
            _ => format!("{:+.0}", (value * 100.0).round() + 0.0),
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
    match finding.fact {
        Fact::Issue if finding.is_new => {
            format!("{place} has {}, not hit on A", cell(&finding.id, ID))
        }
        Fact::Issue => format!("{place} has {}", cell(&finding.id, ID)),
        Fact::Tool => format!("{place} fails"),
        Fact::DeadEnd => format!("{place} fails and does not recover"),
        Fact::Module => format!("tools of {place} fail"),
        Fact::Rating => format!("rating of {place}"),
    }
}

/// For whom a fact changed, and in which runs one can see it.
fn evidence(page: &mut Page, finding: &Finding) {
    let others = finding.personas.len().saturating_sub(NAMED);
    let named = finding.personas.iter().take(NAMED).map(|label| cell(label, LABEL));
    let more = (others > 0).then(|| format!("+{others}"));
    let personas: Vec<_> = named.chain(more).collect();
    if !personas.is_empty() {
        page.line(&format!("{:INDENT$}for {}", "", personas.join(", ")));
    }
    let Some(label) = &finding.shown_by else { return };
    for (when, run) in [("before", &finding.before), ("after", &finding.after)] {
        if let Some(Example { run }) = run {
            let (label, run) = (cell(label, LABEL), cell(run, RUN));
            page.line(&format!("{:INDENT$}{label} {when}: {run}", ""));
        }
    }
}

/// What the comparison could not see.
fn limits(page: &mut Page, comparison: &Comparison) {
    if comparison.verdict == Overall::NotComparable {
        return;
    }
    let Comparison { lambda, detectable, .. } = comparison;
    let floor = |of: Option<f64>| of.map_or("unknown".to_owned(), |floor| format!("{floor:.2}"));
    let change = |of: Option<f64>, text: fn(f64) -> String| of.map_or("no change".to_owned(), text);
    page.out.push('\n');
    page.line(&format!(
        "Noise floor: {} (shares), {} (ratings)",
        floor(lambda.share),
        floor(lambda.rating)
    ));
    page.line("Smallest change to the worse that would have been seen with a probability of 0.8:");
    page.line(&format!(
        "  {} of an ordinary tool, {} of an ordinary rating",
        change(detectable.share, |share| format!("{:.0} points of runs", share * 100.0)),
        change(detectable.rating, |rating| format!("{rating:.1}"))
    ));
}
