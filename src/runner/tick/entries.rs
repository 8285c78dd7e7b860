//! Decides which of the due personas run, and why the others do not.

use std::collections::HashSet;

use super::{TickError, TickSummary, Ticks, why_absent};
use crate::{
    clients::personas::Due,
    domain::{Persona, RunId, RunOutcome, Slot, Stage, WhyNotRun},
    runner::{
        absences,
        eligibility::{Barred, Barriers, done_for},
        pipeline::RunReport,
        verdict::{Cause, Failure},
        work::{RunResult, Work, WorkKind},
    },
};

/// One row of the answer of /due.
pub(super) struct Entry {
    /// The persona's e-mail, or the part of it that can be read.
    pub persona: String,
    /// Who is due and for what slot; `None` for an invalid or repeated row.
    pub due: Option<absences::Due>,
    /// The result for this row, or `None` if a new run in the list of work will have it.
    pub result: Option<RunResult>,
}

impl Entry {
    /// Who is due, with the absence as far as it is known before the runs. `None` for an invalid or repeated row.
    pub(super) fn known(&self) -> Option<absences::Due> {
        let absent = self.result.as_ref().and_then(why_absent);
        self.due.clone().map(|due| absences::Due { absent, ..due })
    }
}

impl Ticks {
    /// Makes an entry for each row of /due. A persona that runs is appended to `list`, which already holds
    /// the unfinished runs; at most `most` are appended. `unfinished` has the ids of personas with an
    /// unfinished run.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn sort_out(
        &self,
        due: Due,
        most: usize,
        unfinished: &HashSet<String>,
        list: &mut Vec<Work>,
        summary: &mut TickSummary,
    ) -> Result<Vec<Entry>, TickError> {
        let Due { rows, server_time } = due;
        let slot_of = |persona: &Persona| Slot::of(persona.cadence, server_time);
        let done = done_for(&self.fleet.journal, rows.iter().flatten().map(slot_of)).await?;
        let no_money = self.fleet.budget.exhausted();
        let nobody = no_money.map(|because| (WhyNotRun::Budget, because));
        let barriers =
            Barriers { holds: &self.fleet.holds, unfinished, done: &done, nobody: nobody.as_ref() };
        let most = list.len().saturating_add(most);
        let mut seen = HashSet::new();
        // An invalid row may be in /due for ever, so it is logged and counted once a day.
        let refuse = |persona: String, error: String, in_log: &str| {
            if self.logged.is_first_today(&persona, self.fleet.clock.now()) {
                self.fleet.metrics.record_no_run(RunOutcome::Failed);
                tracing::warn!("{in_log}");
            }
            let failure = Failure::at(Stage::Due, error);
            Entry { persona, due: None, result: Some(Ok(RunReport::without_a_run(failure))) }
        };
        let mut sort = |persona: Persona| {
            let persona = self.fleet.without_secrets(persona);
            let (id, slot) = (persona.user_id.clone(), slot_of(&persona));
            let entry = |result| {
                let due = Some(absences::Due::new(&persona, &slot));
                Entry { persona: persona.email.clone(), due, result }
            };
            let (why, because) = match barriers.why_not(&id, &slot) {
                Some(Barred::Away(why)) => {
                    self.fleet.metrics.record_no_run(RunOutcome::PutOff);
                    let failure = Failure { cause: Cause::Away, ..Failure::at(Stage::Due, why) };
                    return entry(Some(Ok(RunReport::without_a_run(failure))));
                }
                Some(Barred::Skipped { why, because, until }) => {
                    let first = summary.first_hold_ends;
                    summary.first_hold_ends = first.into_iter().chain(until).min();
                    (why, because)
                }
                None if list.len() >= most => {
                    let because = "another run finds out whether Claude is to be had again";
                    (WhyNotRun::ModelStopped, because.into())
                }
                None if let Some(claim) = self.claims.claim(id.as_str()) => {
                    let entry = entry(None);
                    let kind = WorkKind::New { persona: Box::new(persona), slot, server_time };
                    list.push(Work { id: RunId::new(), kind, claim });
                    return entry;
                }
                None => (WhyNotRun::Unfinished, "a run of it is under way".into()),
            };
            tracing::debug!(persona.id = %id, why = why.as_str(), "does not run: {because}");
            self.fleet.metrics.record_no_run(RunOutcome::Skipped);
            entry(Some(Err(why)))
        };
        let sorted = rows.into_iter().map(|row| match row {
            Err(error) => {
                let in_log = format!("row {} of /due is no run: {}", error.index, error.in_log());
                refuse(error.persona.clone(), error.to_string(), &in_log)
            }
            Ok(persona) if !seen.insert(persona.user_id.clone()) => {
                let in_log = format!("/due lists persona {} twice", persona.user_id);
                let error = "/due lists this persona twice; it runs once".into();
                refuse(persona.email, error, &in_log)
            }
            Ok(persona) => sort(persona),
        });
        Ok(sorted.collect())
    }
}
