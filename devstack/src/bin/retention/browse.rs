//! How long each query of the page takes on a journal of facts, alone and with twenty readers.

use std::{error::Error, path::Path, time::Instant};

use jiff::civil::Date;
use mana_persona_runner::{
    domain::RunId,
    facts::window::Days,
    journal::{Journal, Part, Position, Rated, RatingFilter, RunFilter, ToolSample},
};

/// How often each query is made.
const ROUNDS: usize = 40;
/// How many readers ask at once.
const READERS: usize = 20;
/// The runs on a page.
const ROWS: u32 = 50;
/// A call as a step. No run has it, so it is not about a persona.
const CALLED: &str = r#"{"called":{"id":"toolu_1","record":{"number":1,"tool":{"listed":"todo.list"},"input_hash":null,"error":null,"outcome_unknown":false,"excerpt":"","latency":{"secs":0,"nanos":1000000}},"content":[{"text":"TEXT"}],"hints":[]}}"#;
/// How many calls the journal has as steps.
const STEPS: u32 = 10_000;

/// What the queries ask for.
struct Subjects {
    run: RunId,
    persona: String,
    issue: String,
    days: (Date, Date),
    /// The first three days of all.
    old_days: (Date, Date),
}

/// Measures the queries on the journal in `folder`.
pub(crate) async fn measure(folder: &Path) -> Result<(), Box<dyn Error>> {
    let journal = Journal::open(folder).await?;
    let page = journal.for_page();
    write_steps(&journal).await?;
    let subjects = subjects(&page).await?;
    let started = Instant::now();
    ask(&page, &subjects, "revision").await?;
    println!("open and ask: {:.1} ms", ms(started));
    for query in QUERIES {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            ask(&page, &subjects, query).await?;
            took.push(ms(started));
        }
        println!("{query:<22} {}", quantiles(took));
    }
    let reader = |reader: usize| {
        let (page, subjects) = (&page, &subjects);
        async move {
            let mut took = Vec::new();
            for round in 0..ROUNDS {
                let query = QUERIES[(reader + round) % QUERIES.len()];
                let started = Instant::now();
                ask(page, subjects, query).await?;
                took.push(ms(started));
            }
            Ok::<_, Box<dyn Error>>(took)
        }
    };
    let all = futures_util::future::try_join_all((0..READERS).map(reader)).await?;
    println!("{READERS} readers at once   {}", quantiles(all.concat()));
    journal.close().await;
    Ok(())
}

const QUERIES: [&str; 26] = [
    "revision",
    "dates",
    "runs",
    "runs, later page",
    "runs of a persona",
    "runs of an outcome",
    "runs of no outcome",
    "runs of old days",
    "runs of a tool",
    "runs of no tool",
    "runs of no module",
    "runs of an issue",
    "runs of 28 days",
    "personas of an issue",
    "hits by day",
    "samples of an issue",
    "slowest of a tool",
    "failed of a tool",
    "ratings of a module",
    "ratings of no number",
    "persona with runs",
    "own ratings",
    "calls of a run",
    "choices",
    "latest calls",
    "calls after a place",
];

async fn ask(page: &Journal, of: &Subjects, query: &str) -> Result<(), Box<dyn Error>> {
    let some = |text: &str| Some(text.to_owned());
    let all = RunFilter::default();
    let find = async |filter: RunFilter, part| page.find_runs(&filter, part, ROWS).await.map(drop);
    let rate = async |rating| {
        let module = "todo".to_owned();
        let filter = RatingFilter { module, days: of.days, persona: None, rating };
        page.ratings_of(&filter, Part::Newest, ROWS).await.map(drop)
    };
    match query {
        "revision" => page.revision().await.map(drop),
        "dates" => page.dates_of(Days::Last(28)).await.map(drop),
        "runs" => find(all, Part::Newest).await,
        "runs, later page" => find(all, Part::Before(of.run)).await,
        "runs of a persona" => {
            find(RunFilter { persona: Some(of.persona.clone()), ..all }, Part::Newest).await
        }
        "runs of an outcome" => {
            find(RunFilter { outcome: some("done"), ..all }, Part::Newest).await
        }
        "runs of no outcome" => {
            find(RunFilter { outcome: some("login"), ..all }, Part::Newest).await
        }
        "runs of old days" => {
            find(RunFilter { days: Some(of.old_days), ..all }, Part::Newest).await
        }
        "runs of a tool" => find(RunFilter { tool: some("todo.list"), ..all }, Part::Newest).await,
        "runs of no tool" => find(RunFilter { tool: some("none"), ..all }, Part::Newest).await,
        "runs of no module" => find(RunFilter { module: some("none"), ..all }, Part::Newest).await,
        "runs of an issue" => {
            find(RunFilter { issue: Some(of.issue.clone()), ..all }, Part::Newest).await
        }
        "runs of 28 days" => find(RunFilter { days: Some(of.days), ..all }, Part::Newest).await,
        "personas of an issue" => page.personas_of_issue(&of.issue, of.days, ROWS).await.map(drop),
        "hits by day" => page.hits_by_day(&of.issue, of.days).await.map(drop),
        "samples of an issue" => page.samples_of_issue(&of.issue, of.days, ROWS).await.map(drop),
        "slowest of a tool" => {
            let which = ToolSample::Slowest;
            page.samples_of_tool("todo.list", which, of.days, ROWS).await.map(drop)
        }
        "failed of a tool" => {
            let which = ToolSample::Failed;
            page.samples_of_tool("todo.list", which, of.days, ROWS).await.map(drop)
        }
        "ratings of a module" => rate(None).await,
        "ratings of no number" => rate(Some(Rated::As(9))).await,
        "persona with runs" => {
            page.runs_of_persona(&of.persona, of.days, Part::Newest, ROWS).await.map(drop)
        }
        "own ratings" => page.own_ratings(&of.persona, of.days).await.map(drop),
        "calls of a run" => page.stored_calls(of.run).await.map(drop),
        "choices" => page.choices(ROWS).await.map(drop),
        "latest calls" => page.latest_calls(ROWS).await.map(drop),
        _ => page.calls_after(Position::default(), ROWS).await.map(drop),
    }?;
    Ok(())
}

async fn write_steps(journal: &Journal) -> Result<(), Box<dyn Error>> {
    let run = journal.latest_runs(1).await?.pop().ok_or("there are no runs")?;
    let known = journal.steps(run.id).await?.len();
    let body = CALLED.replace("TEXT", &"x".repeat(2_000));
    for number in u32::try_from(known)?..STEPS {
        journal.append_step(run.id, number, &body, run.started_at).await?;
    }
    Ok(())
}

async fn subjects(page: &Journal) -> Result<Subjects, Box<dyn Error>> {
    let found = page.find_runs(&RunFilter::default(), Part::Newest, 1_000).await?;
    let run = found.items.last().ok_or("there are no runs")?;
    let days = page.dates_of(Days::Last(28)).await?.ok_or("there are no facts")?;
    let all = page.dates_of(Days::Last(400)).await?.ok_or("there are no facts")?;
    let mut issues = Vec::new();
    for run in found.items.iter().take(50) {
        let calls = page.stored_calls(run.id).await?;
        issues.extend(calls.into_iter().filter_map(|call| call.issue));
    }
    Ok(Subjects {
        run: run.id,
        persona: run.persona_id.clone(),
        issue: issues.pop().ok_or("there are no issues")?,
        days,
        old_days: (all.0, days.0.saturating_add(jiff::Span::new().days(2))),
    })
}

fn ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn quantiles(mut took: Vec<f64>) -> String {
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100).saturating_sub(1)];
    format!("p50 {:>6.2} ms, p95 {:>6.2} ms", at(50), at(95))
}
