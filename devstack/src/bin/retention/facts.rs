//! A journal of facts alone: how large it is, and how long it takes to read it.

use std::{collections::BTreeMap, error::Error, fs, path::Path, time::Instant};

use devstack::chance::Chance;
use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    domain::{
        Cause, InputHash, ModuleRating, Outcome, Persona, Rating, RunId, RunState, Slot, ToolName,
    },
    facts::{Line, Observed, ObservedCall, RunFacts, extract},
    journal::{DeploymentSource, EndedRun, History, Journal, NewRun, RunSettings},
};
use uuid::Uuid;

/// The tools of ten modules; a run uses some of them.
const MODULES: [&str; 10] = [
    "todo", "notes", "habits", "calendar", "food", "journal", "articles", "contacts", "quotes",
    "finance",
];
const VERBS: [&str; 3] = ["list", "create", "complete"];
/// One call in so many fails.
const FAILS: u64 = 20;
const CALLS: u64 = 18;
/// What a persona says after a failure, and of a module.
const WORDS: &str = "Das hat leider nicht geklappt, ich versuche es anders. Das hat leider nicht geklappt, ich versuche es anders. ";
const NOTES: &str = "Klappt gut, nur die Liste ist mir etwas zu lang geworden.";
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
    let facts = facts(&id.to_string(), at, chance)?;
    let ended = EndedRun {
        state: RunState::Finished,
        stage: "done",
        replies: 12,
        calls: facts.calls.len(),
        call_errors: facts.calls.iter().filter(|(call, _)| !call.ok).count(),
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

/// The facts of a run of [`CALLS`] calls in about four modules, some of which fail. They are extracted as the daemon does
/// it, so that what a journal has beside its calls follows from the calls.
fn facts(run: &str, at: Timestamp, chance: &mut Chance) -> Result<RunFacts, Box<dyn Error>> {
    let favourite = chance.between(0, MODULES.len() as u64);
    let mut calls = Vec::new();
    for number in 1..=CALLS {
        calls.push(call(number as u32, favourite, at, chance));
    }
    let mut modules = BTreeMap::<_, Vec<u32>>::new();
    for call in &calls {
        modules.entry(ToolName::new(&*call.tool).module()).or_default().push(call.number);
    }
    let ratings = modules.into_iter().map(|(module, mut calls)| {
        let rating: Rating = serde_json::from_value(chance.between(2, 6).into())?;
        calls.truncate(1);
        Ok(ModuleRating::new(module, rating, Some(NOTES), calls))
    });
    let ratings = Some(ratings.collect::<Result<_, serde_json::Error>>()?);
    let observed = Observed { calls, day: Some(Outcome::Done), ratings, unrated: Vec::new() };
    Ok(extract(&observed, run, Outcome::Done, SignedDuration::ZERO))
}

fn call(number: u32, favourite: u64, at: Timestamp, chance: &mut Chance) -> ObservedCall {
    let module = MODULES[(favourite + chance.between(0, 4)) as usize % MODULES.len()];
    let verb = VERBS[chance.between(0, VERBS.len() as u64) as usize];
    let id = Uuid::from_u64_pair(chance.between(0, u64::MAX), chance.between(0, u64::MAX));
    let input = format!(r#"{{"id":"{id}"}}"#);
    let error = match chance.between(0, 2) {
        0 => format!("No entry with id {id}"),
        _ => format!("The entry {id} is locked"),
    };
    let failure = (chance.between(0, FAILS) == 0).then_some((Cause::Handler, error));
    ObservedCall {
        number,
        at: at + SignedDuration::from_secs(10 * i64::from(number)),
        tool: format!("{module}.{verb}"),
        is_listed: true,
        is_read_only: verb == "list",
        may_have_run: true,
        input_hash: InputHash::of_json(&input),
        input,
        words: if failure.is_some() { WORDS.into() } else { String::new() },
        failure,
        latency: chance.millis(20, 400),
        tries: 1,
        chars: chance.between(20, 4_000),
        cut: false,
        limit_offered: verb == "list",
    }
}

#[cfg(test)]
mod tests {
    use mana_persona_runner::{
        domain::Language,
        facts::window::{Builder, Days},
        report::{Document, Form},
    };

    use super::*;

    #[tokio::test]
    async fn a_report_from_the_export_has_the_bytes_of_the_one_from_the_journal() {
        let folder = crate::Folder::new();
        let personas: Vec<_> = (0..4).map(|number| crate::persona(number).unwrap()).collect();
        simulate(&folder.0, &personas, 14).await.unwrap();
        let journal = Journal::open_read_only(&folder.0).await.unwrap();
        for days in [Days::LastWeek, Days::Last(5), Days::All] {
            let text = |facts: Builder| {
                let facts = facts.finish(days).unwrap();
                Document::new(&facts, Language::English).text(Form::Json)
            };
            let mut export = Builder::default();
            let take = |line| export.take(line).unwrap();
            journal.facts_lines(None, History::All, take).await.unwrap();
            let report = text(journal.facts_for(days).await.unwrap());
            assert!(report.contains("\"frictions\":[{"), "{report}");
            assert_eq!(report, text(export), "{days:?}");
        }
    }
}
