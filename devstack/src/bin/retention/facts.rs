//! A journal of facts alone: how large it is, and how long it takes to read it.

use std::{error::Error, fs, path::Path, time::Instant};

use devstack::chance::Chance;
use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    domain::{Cause, Next, Outcome, Persona, RunId, RunState, Slot},
    facts::{Fingerprint, Line, RunFacts, SeenIssue, line},
    journal::{DeploymentSource, EndedRun, History, Journal, NewRun, RunSettings},
};

/// The tools of ten modules; a run uses some of them.
const MODULES: [&str; 10] = [
    "todo", "notes", "habits", "calendar", "food", "journal", "articles", "contacts", "quotes",
    "finance",
];
const VERBS: [&str; 3] = ["list", "create", "complete"];
/// One call in so many fails.
const FAILS: u64 = 20;
const CALLS: u64 = 18;
/// The runs of so many last days are those of a second deployment.
const DAYS_AFTER: u32 = 7;
/// Single calls are kept so long, all other facts 400 days.
const CALLS_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
const FACTS_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
const BEGIN: Timestamp = Timestamp::constant(1_767_592_800, 0);

/// Writes the facts of these personas and days to a journal in `folder`, and reads them back. There are two deployments,
/// so that `compare` has two sides.
pub(crate) async fn simulate(
    folder: &Path,
    personas: &[Persona],
    days: u32,
) -> Result<(), Box<dyn Error>> {
    let journal = Journal::open(folder).await?;
    let started = Instant::now();
    let mut now = BEGIN;
    for day in 0..days {
        now = BEGIN + SignedDuration::from_hours(24 * i64::from(day));
        let version = if day + DAYS_AFTER < days { "2026.1.1" } else { "2026.1.2" };
        let met = journal.meet_deployment(version, DeploymentSource::Env, now).await?;
        let deployment = met.map(|met| met.number);
        for (number, persona) in personas.iter().enumerate() {
            let begun = now + SignedDuration::from_secs(i64::try_from(number)? * 3);
            let chance = &mut Chance::new(u64::from(day), number as u64);
            run(&journal, persona, begun, deployment, chance).await?;
        }
        while journal.prune_facts(now, FACTS_KEPT, CALLS_KEPT).await? > 0 {}
    }
    let wrote = started.elapsed();
    journal.close().await;
    let bytes = super::size(folder)?;
    println!(
        "{} personas, {days} days: {:.1} MB of facts, written in {:.0} s",
        personas.len(),
        bytes / 1e6,
        wrote.as_secs_f64()
    );
    read(folder, now).await
}

/// Reads all facts as a command does.
async fn read(folder: &Path, until: Timestamp) -> Result<(), Box<dyn Error>> {
    let journal = Journal::open_read_only(folder).await?;
    let started = Instant::now();
    let (mut lines, mut calls) = (0_u64, 0_u64);
    let count = |line: Line| {
        lines += 1;
        calls += u64::from(matches!(line, Line::Call(_)));
    };
    journal.facts_lines(None, History::All, count).await?;
    let all = started.elapsed().as_secs_f64();
    let last = until.to_zoned(jiff::tz::TimeZone::UTC).date();
    let started = Instant::now();
    let days = (last.checked_sub(jiff::Span::new().days(27))?, last);
    journal.facts_lines(None, History::CallsIn(days), drop).await?;
    println!(
        "all {lines} lines with {calls} calls read in {all:.2} s; with the calls of 28 days in {:.2} s; \
         peak of resident memory {}",
        started.elapsed().as_secs_f64(),
        fs::read_to_string("/proc/self/status")?
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap_or("unknown")
            .trim(),
    );
    Ok(())
}

async fn run(
    journal: &Journal,
    persona: &Persona,
    at: Timestamp,
    deployment: Option<i64>,
    chance: &mut Chance,
) -> Result<(), Box<dyn Error>> {
    let (id, slot) = (RunId::new(), Slot::of(persona.cadence, at));
    let begun = RunSettings {
        server_time: Some(at),
        deployment,
        effort: "medium",
        policy: "deny~0123abcd",
        runner: "0.1.0 (0123abcd)",
        prompt: "0123456789abcdef",
        ..RunSettings::unknown(at)
    };
    let new = NewRun { id, persona, slot: &slot, attempt: 1, model: "claude-haiku-5-5", begun };
    journal.begin_run(new, at).await?;
    let facts = facts(&id.to_string(), at, chance);
    let ended = EndedRun {
        state: RunState::Finished,
        stage: "done",
        replies: 12,
        calls: facts.calls.len(),
        call_errors: facts.hits.len(),
        ratings: facts.modules.len(),
        reason: Some("done".into()),
        next_eligible_at: None,
        outcome: Outcome::Done,
        facts,
        deployment_end: deployment,
    };
    journal.end_run(id, &ended, &[], at + SignedDuration::from_mins(4)).await?;
    Ok(())
}

/// The facts of a run of [`CALLS`] calls in about four modules, some of which fail.
pub(crate) fn facts(run: &str, at: Timestamp, chance: &mut Chance) -> RunFacts {
    let mut facts = RunFacts::default();
    let favourite = chance.between(0, MODULES.len() as u64);
    for number in 1..=CALLS {
        let module = (favourite + chance.between(0, 4)) as usize % MODULES.len();
        let module = MODULES[module];
        let tool = format!("{module}.{}", VERBS[chance.between(0, 3) as usize]);
        let failed = chance.between(0, FAILS) == 0;
        let template = format!("No entry with id ‹id› in {tool}, variant {}", chance.between(0, 2));
        let fingerprint = Fingerprint::of(Cause::Handler, Some(&tool), &template);
        let call = line::Call {
            run: run.to_owned(),
            number: number as u32,
            at: at + SignedDuration::from_secs(10 * number as i64),
            module: module.to_owned(),
            ok: !failed,
            cause: failed.then_some(Cause::Handler),
            issue: None,
            template: failed.then(|| template.clone()),
            input_hash: Some(format!("{:016x}", chance.between(0, u64::MAX))),
            latency_ms: Some(chance.between(20, 400)),
            tries: 1,
            chars: chance.between(20, 4_000),
            cut: false,
            limit_offered: tool.ends_with("list"),
            next: failed.then_some(Next::OtherOk),
            quote: failed
                .then(|| "Das hat leider nicht geklappt, ich versuche es anders. ".repeat(2)),
            tool: tool.clone(),
        };
        facts.calls.push((call, failed.then_some(fingerprint)));
        if failed && facts.hits.iter().all(|(issue, _)| issue.fingerprint != fingerprint) {
            let at = at + SignedDuration::from_secs(10 * number as i64);
            let tool = Some(tool.clone());
            let (cause, call) = (Cause::Handler, number as u32);
            let tools = tool.iter().cloned().collect();
            let issue = SeenIssue { fingerprint, tool, cause, template, at, call };
            let (issue_id, run) = (String::new(), run.to_owned());
            facts.hits.push((
                issue,
                line::Hit { issue: issue_id, run, calls: 1, recovered: true, tools },
            ));
        }
        match facts.tools.iter_mut().find(|used| used.tool == tool) {
            Some(used) => used.calls += 1,
            None => facts.tools.push(line::Tool {
                run: run.to_owned(),
                tool,
                calls: 1,
                failed: u32::from(failed),
                dead_end: false,
                recovered: failed,
            }),
        }
        if facts.modules.iter().all(|used| used.module != module) {
            facts.modules.push(line::Module {
                run: run.to_owned(),
                module: module.to_owned(),
                rating: Some(chance.between(2, 6) as u8),
                grounded: true,
                unrated_why: None,
                notes: Some("Klappt gut, nur die Liste ist mir etwas zu lang geworden.".into()),
                calls: vec![number as u32],
                reads: 2,
                writes: 2,
                failed: 0,
                dead_end: false,
            });
        }
    }
    facts.tools.sort_by(|a, b| a.tool.cmp(&b.tool));
    facts.modules.sort_by(|a, b| a.module.cmp(&b.module));
    facts
}
