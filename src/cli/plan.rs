//! Prints what a tick that begins now would do and cost.

use std::collections::BTreeMap;

use super::{
    arguments::{self, Format},
    text::{Page, cell, counted, time},
};
use crate::domain::{Expected, Plan};

/// Exit code: a cap is reached, or has less left than the runs may well cost.
pub(super) const EX_SHORT: u8 = 5;

/// How many labels of personas a line has at most.
const MOST_LABELS: usize = 20;
/// Longest label, in characters.
const LONGEST_LABEL: usize = 40;
/// Longest reason why nobody may run, in characters.
const LONGEST_REASON: usize = 300;

/// The text of a plan.
pub(super) fn render(plan: &Plan, asked: &arguments::Plan) -> String {
    match asked.format {
        Format::Json => format!("{}\n", serde_json::json!(plan)),
        Format::Text => page(plan),
    }
}

fn page(plan: &Plan) -> String {
    let mut page = Page::default();
    who(plan, &mut page);
    page.line("");
    money(plan, &mut page);
    page.out
}

/// Who is due, and who would not run for what reason.
fn who(plan: &Plan, page: &mut Page) {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for persona in &plan.due {
        let why = persona.why_not.map(|why| why.as_str());
        groups.entry(why).or_default().push(&*persona.label);
    }
    let due = plan.due.len();
    page.line(&format!("{} {} due.", counted(due, "persona"), if due == 1 { "is" } else { "are" }));
    for (why, labels) in groups {
        let group = why.map_or("would run".into(), |why| format!("would not run ({why})"));
        page.line(&format!("  {} {group}: {}", labels.len(), listed(&labels)));
    }
    if let Some(why) = &plan.nobody {
        page.line(&format!("No run begins now: {}.", cell(why, LONGEST_REASON)));
    }
    if plan.go_on > 0 {
        page.line(&format!("{} would go on.", counted(plan.go_on, "unfinished run")));
    }
    if plan.closed > 0 {
        let runs = counted(plan.closed, "unfinished run");
        page.line(&format!("{runs} would only be closed, which costs nothing."));
    }
    if plan.unusable > 0 {
        let rows = counted(plan.unusable, "row");
        page.line(&format!("{rows} of /due cannot be used: invalid, or a persona's second one."));
    }
}

/// What the tick costs, and what the caps have left.
fn money(plan: &Plan, page: &mut Page) {
    let p90 = match plan.expected {
        Some(Expected { median, p90 }) => {
            page.line(&format!(
                "expected  {median} by the median of the last runs, {p90} by their 90th percentile"
            ));
            Some(p90)
        }
        None => {
            page.line("expected  not known: no run has reached the model yet");
            None
        }
    };
    let until = time(plan.valid_until, "%Y-%m-%d %H:%M");
    page.line(&format!("at most   {}, if the tick begins before {until}", plan.ceiling));
    for cap in &plan.caps {
        let until = time(cap.until, "%Y-%m-%d %H:%M");
        let comparison = match p90 {
            _ if cap.is_reached => ": it is reached, so that no run begins before",
            Some(p90) if p90 > cap.left => ": less than the 90th percentile",
            _ => "",
        };
        page.line(&format!("left      {} of {} until {until}{comparison}", cap.left, cap.name));
    }
}

fn listed(labels: &[&str]) -> String {
    let shown = labels.iter().take(MOST_LABELS).map(|label| cell(label, LONGEST_LABEL));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if labels.len() > MOST_LABELS {
        text.push_str(&format!(" and {} more", labels.len() - MOST_LABELS));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CapLeft, DuePersona, Usd, WhyNotRun};

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    fn plan() -> Plan {
        let persona = |label: &str, why_not| DuePersona { label: label.into(), why_not };
        let at = |time: &str| time.parse().unwrap();
        let limit = usd(5.0);
        let cap = |name, left, is_reached, until| CapLeft { name, limit, left, is_reached, until };
        Plan {
            due: vec![
                persona("anna", None),
                persona("ben\u{1b}[31m\n|`<script>", None),
                persona("carla", Some(WhyNotRun::HeldBack)),
                persona("dan", Some(WhyNotRun::SlotUsed)),
                persona(&"e".repeat(5_000_000), Some(WhyNotRun::SlotUsed)),
            ],
            nobody: None,
            unusable: 2,
            go_on: 1,
            closed: 3,
            expected: Some(Expected { median: usd(0.0421), p90: usd(0.08) }),
            ceiling: usd(0.75),
            valid_until: at("2026-11-30T17:50:59Z"),
            caps: vec![
                cap("BUDGET_DAILY_USD", usd(0.07), false, at("2026-12-01T00:00:00Z")),
                cap("BUDGET_MONTHLY_USD", usd(40.0), false, at("2026-12-01T00:00:00Z")),
            ],
        }
    }

    #[test]
    fn a_person_reads_who_runs_who_does_not_and_what_it_costs() {
        insta::assert_snapshot!(page(&plan()));
    }

    #[test]
    fn a_person_reads_that_nobody_runs_and_why() {
        let mut plan = Plan {
            due: vec![DuePersona { label: "anna".into(), why_not: Some(WhyNotRun::Budget) }],
            nobody: Some("BUDGET_DAILY_USD ($5.0000) is used up".into()),
            unusable: 0,
            go_on: 0,
            closed: 0,
            expected: None,
            ..plan()
        };
        plan.caps[0].is_reached = true;
        insta::assert_snapshot!(page(&plan));
        let none = Plan { due: vec![], nobody: None, caps: vec![], ..plan };
        assert!(page(&none).starts_with("0 personas are due.\n\nexpected  not known"));
    }

    #[test]
    fn a_list_of_many_personas_is_cut() {
        let labels: Vec<_> = (0..1_000).map(|n| format!("p{n}")).collect();
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let text = listed(&labels);
        assert!(text.starts_with("p0, p1, ") && text.ends_with(", p19 and 980 more"), "{text}");
    }
}
