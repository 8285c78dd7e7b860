//! Prints the latest runs as a table.

use super::{
    text::{cell, counted, table, time},
    transcript,
};
use crate::{
    agent::transcript::Transcript,
    domain::{Stage, Usd},
    journal::{Journal, Result, RunRow, RunState},
};

/// Longest persona, slot or kind of post in a table, in characters.
pub(super) const PERSONA: usize = 32;
/// Longest reason in the table, in characters. `show` prints up to 1,000.
const REASON: usize = 48;
/// Shortest prefix of a run id that is shown, in characters: the part that holds the time of its creation in
/// milliseconds.
const ID: usize = 13;

/// Title of the column with the start times.
const BEGUN: &str = "BEGUN (UTC)";

/// The table of the latest `limit` runs, newest first.
pub(super) async fn render(journal: &Journal, limit: u32) -> Result<String> {
    // One run more than is shown, because its id may share a prefix with the id of the last one shown.
    let mut runs = journal.latest_runs(limit.saturating_add(1)).await?;
    let id_length = distinct_length(&runs);
    runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if runs.is_empty() {
        return Ok("There are no runs yet: nobody was due since this journal was begun.\n".into());
    }
    let refused = journal.runs_with_dead_posts().await?;
    let mut rows = Vec::with_capacity(runs.len());
    for run in &runs {
        let transcript = match run.state {
            RunState::Running => transcript::read(journal, run).await?,
            _ => Transcript::default(),
        };
        let (turns, calls, errors) = counts(run, &transcript);
        let id = run.id.to_string();
        rows.push([
            cell(persona(run), PERSONA),
            cell(run.slot.as_str(), PERSONA),
            state(run, refused.contains(&run.id)).to_owned(),
            turns.to_string(),
            calls.to_string(),
            errors.to_string(),
            run.spent.to_string(),
            time(run.started_at, "%m-%d %H:%M"),
            id.chars().take(id_length).collect(),
            cell(run.end_reason.as_deref().unwrap_or_default(), REASON),
        ]);
    }
    let columns =
        ["PERSONA", "SLOT", "STATE", ">TURNS", ">TOOLS", ">ERR", ">COST", BEGUN, "RUN", "END"];
    let spent = runs.iter().map(|run| run.spent).sum::<Usd>();
    let total = counted(runs.len(), "run");
    Ok(format!(
        "{}\n{total}, {spent}. `mana-persona-runner show RUN` prints one.\n",
        table(columns, &rows)
    ))
}

/// The e-mail of the run's persona, or the persona's id if the e-mail is no longer stored.
pub(super) fn persona(run: &RunRow) -> &str {
    run.persona.as_ref().map_or(&run.persona_id, |persona| &persona.email)
}

/// The state of a run as shown to people. A run in the state `finished` has used up its slot, but it may have
/// failed, or its rows may have been refused for good; this shows "failed" or "refused" then.
pub(super) fn state(run: &RunRow, is_refused: bool) -> &'static str {
    match (run.state, run.stage.as_str()) {
        _ if run.has_lost_rows() => "refused",
        (RunState::Finished, _) if is_refused => "refused",
        (RunState::Finished, stage) if stage != Stage::Done.as_str() => "failed",
        (state, _) => state.as_str(),
    }
}

/// The length of the shortest prefix, in characters, by which the ids of these runs differ.
fn distinct_length(runs: &[RunRow]) -> usize {
    let mut ids: Vec<_> = runs.iter().map(|run| run.id.to_string()).collect();
    ids.sort();
    let shared = |pair: &[String]| {
        let both = pair[0].bytes().zip(pair[1].bytes());
        both.take_while(|(one, other)| one == other).count()
    };
    let length = ids.windows(2).map(shared).max().map_or(ID, |shared| ID.max(shared + 1));
    // Not for uniqueness: a prefix should not end with a hyphen.
    if ids.iter().any(|id| id[..length].ends_with('-')) { length + 1 } else { length }
}

/// The numbers of turns, tool calls and failed tool calls of a run. For a run that has not ended they are
/// counted from its steps so far.
pub(super) fn counts(run: &RunRow, transcript: &Transcript) -> (usize, usize, usize) {
    if run.state != RunState::Running {
        return (run.replies as usize, run.calls, run.call_errors);
    }
    transcript.counts()
}
