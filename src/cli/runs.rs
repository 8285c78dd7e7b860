//! The latest runs as a table.

use std::collections::HashSet;

use super::text::{Column, cell, counted, table, time, wide};
use crate::{
    agent::step::Step,
    journal::{Journal, Result, RunRow, RunState},
    metrics::Stage,
};

/// Longest persona in the table, in characters.
const PERSONA: usize = 32;
/// Longest reason in the table, in characters; `show` has all of it.
const REASON: usize = 48;
/// Least of an id that is shown: the time it was made, in milliseconds.
const ID: usize = 13;

/// The latest runs, newest first.
pub(super) async fn tell(journal: &Journal, limit: u32) -> Result<String> {
    // One more, which may share the beginning of its id with the last that is shown.
    let mut runs = journal.latest_runs(limit.saturating_add(1)).await?;
    let id_length = distinct_length(&runs);
    runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if runs.is_empty() {
        return Ok("There are no runs yet: nobody was due since this journal was begun.\n".into());
    }
    let refused = journal.runs_with_dead_posts().await?;
    let mut rows = Vec::with_capacity(runs.len());
    for run in &runs {
        let so_far = Counts::of(journal, run).await?;
        let id = run.id.to_string();
        rows.push([
            cell(persona(run), PERSONA),
            cell(run.slot.as_str(), PERSONA),
            state(run, refused.contains(&run.id)).to_owned(),
            so_far.replies.to_string(),
            so_far.calls.to_string(),
            so_far.errors.to_string(),
            run.spent.to_string(),
            time(run.started_at, "%m-%d %H:%M"),
            id.chars().take(id_length).collect(),
            cell(run.end_reason.as_deref().unwrap_or_default(), REASON),
        ]);
    }
    let columns = [
        Column::Left("PERSONA"),
        Column::Left("SLOT"),
        Column::Left("STATE"),
        Column::Right("TURNS"),
        Column::Right("TOOLS"),
        Column::Right("ERR"),
        Column::Right("COST"),
        Column::Left("BEGUN (UTC)"),
        Column::Left("RUN"),
        Column::Left("END"),
    ];
    let spent = runs.iter().map(|run| run.spent).sum::<crate::domain::Usd>();
    let total = counted(wide(runs.len()), "run");
    Ok(format!(
        "{}\n{total}, {spent}. `mana-persona-runner show RUN` prints one.\n",
        table(columns, &rows)
    ))
}

/// Whose run it is.
pub(super) fn persona(run: &RunRow) -> &str {
    run.persona.as_ref().map_or(&run.persona_id, |persona| &persona.email)
}

/// How a run stands, for people: one that has used up its slot may have failed all the same, or its rows may
/// have been refused for good.
pub(super) fn state(run: &RunRow, is_refused: bool) -> &'static str {
    match (run.state, run.stage.as_str()) {
        (RunState::Finished, "post_actions" | "post_feedback") => "refused",
        (RunState::Finished, _) if is_refused => "refused",
        (RunState::Finished, stage) if stage != Stage::Done.as_str() => "failed",
        (state, _) => state.as_str(),
    }
}

/// So many characters of their ids tell these runs apart.
fn distinct_length(runs: &[RunRow]) -> usize {
    let ids: Vec<_> = runs.iter().map(|run| run.id.to_string()).collect();
    let whole = ids.first().map_or(ID, String::len);
    let tells_apart = |length: usize| {
        let mut seen = HashSet::new();
        ids.iter().all(|id| seen.insert(&id[..length]))
    };
    let length = (ID..whole).find(|length| tells_apart(*length)).unwrap_or(whole);
    // A hyphen at the end would only look odd.
    if ids.iter().any(|id| id[..length].ends_with('-')) { length + 1 } else { length }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub replies: u32,
    pub calls: usize,
    pub errors: usize,
}

impl Counts {
    /// Of a run that goes on, or was killed, as far as it is written down.
    pub(super) async fn of(journal: &Journal, run: &RunRow) -> Result<Self> {
        if run.state != RunState::Running {
            let RunRow { replies, calls, call_errors: errors, .. } = *run;
            return Ok(Self { replies, calls, errors });
        }
        let steps = journal.steps(run.id).await?;
        let steps = steps.iter().map_while(|step| serde_json::from_str(&step.body).ok());
        let mut counts = Self::default();
        for step in steps {
            match step {
                Step::Replied(_) => counts.replies += 1,
                Step::Called(called) => {
                    counts.calls += 1;
                    counts.errors += usize::from(called.record.error.is_some());
                }
                // What follows is the rating, which is no turn.
                Step::DayEnded(_) => break,
                _ => {}
            }
        }
        Ok(counts)
    }
}
