//! Who of the due personas runs, and why the others do not.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
};

use jiff::Timestamp;

use super::{FailedRun, Tick, TickError, TickSummary};
use crate::{
    clients::personas::{Due, DueRow},
    domain::{Cadence, Persona, RunId, Slot, UserId},
    metrics::{RunOutcome, WhyNotRun},
    runner::work::{What, Work},
};

/// What is known of a due persona before its run.
pub(super) enum Entry {
    /// The next of the list of work.
    Run(Persona),
    Skipped(WhyNotRun),
    /// Until mana-mcp is there again.
    PutOff(String),
    Failed(FailedRun),
}

impl Tick {
    /// Who runs, which goes to the end of the list of work, who does not, and which rows are nobody.
    pub(super) async fn sort_out(
        &self,
        due: Due,
        most: usize,
        unfinished: &HashSet<String>,
        list: &mut Vec<Work>,
        summary: &mut TickSummary,
    ) -> Result<Vec<Entry>, TickError> {
        let Due { rows, server_time } = due;
        let done = self.done_for(&rows, server_time).await?;
        let no_money = self.pipeline.budget.exhausted();
        let most = list.len().saturating_add(most);
        let mut seen = HashSet::new();
        // It may stand there for ever: it is told and counted once a day.
        let refuse = |persona: String, error: String, in_log: &str| {
            if self.told.is_news(&persona, self.pipeline.clock.now()) {
                self.metrics().record_no_run(RunOutcome::Failed);
                tracing::warn!("{in_log}");
            }
            Entry::Failed(FailedRun { persona, error })
        };
        let skip = |persona: &UserId, why: WhyNotRun, because: &dyn Display| {
            tracing::debug!(persona.id = %persona, why = why.as_str(), "does not run: {because}");
            self.metrics().record_no_run(RunOutcome::Skipped);
            Entry::Skipped(why)
        };
        let sorted = rows.into_iter().map(|row| match row {
            Err(error) => {
                let in_log = format!("row {} of /due is no run: {}", error.place, error.in_log());
                refuse(error.persona.clone(), error.to_string(), &in_log)
            }
            Ok(persona) if !seen.insert(persona.user_id.clone()) => {
                let in_log = format!("/due lists persona {} twice", persona.user_id);
                let error = "/due lists this persona twice; it runs once".into();
                refuse(persona.email, error, &in_log)
            }
            Ok(persona) => {
                let id = &persona.user_id;
                let slot = Slot::of(persona.cadence, server_time);
                if let Some(why) = self.put_off().why(id) {
                    self.metrics().record_no_run(RunOutcome::PutOff);
                    return Entry::PutOff(why);
                }
                if let Some(until) = self.pipeline.back_off.until(id) {
                    let first = summary.first_hold_ends.get_or_insert(until);
                    *first = until.min(*first);
                    return match self.pipeline.back_off.failures(id) {
                        0 => skip(
                            id,
                            WhyNotRun::PersonaBudget,
                            &format_args!("PERSONA_DAILY_USD is used up until {until}"),
                        ),
                        failures => skip(
                            id,
                            WhyNotRun::HeldBack,
                            &format_args!(
                                "held back until {until}, failed runs in a row: {failures}"
                            ),
                        ),
                    };
                }
                if unfinished.contains(id.as_str()) {
                    return skip(id, WhyNotRun::Unfinished, &"a run of it comes to its end first");
                }
                if done.get(&slot).is_some_and(|personas| personas.contains(id.as_str())) {
                    return skip(
                        id,
                        WhyNotRun::SlotUsed,
                        &format_args!("it has had its run for {slot}"),
                    );
                }
                if let Some(reason) = &no_money {
                    return skip(id, WhyNotRun::Budget, reason);
                }
                if list.len() >= most {
                    let because = "another run finds out whether Claude is to be had again";
                    return skip(id, WhyNotRun::ModelStopped, &because);
                }
                let Some(claim) = self.claims.claim(id.as_str()) else {
                    return skip(id, WhyNotRun::Unfinished, &"a run of it is under way");
                };
                let what = What::New(RunId::new(), Box::new(persona.clone()), slot);
                list.push(Work { what, claim });
                Entry::Run(persona)
            }
        });
        Ok(sorted.collect())
    }

    /// For each slot somebody is due for, the personas that have their run for it.
    async fn done_for(
        &self,
        rows: &[DueRow],
        server_time: Timestamp,
    ) -> Result<HashMap<Slot, HashSet<String>>, TickError> {
        let mut done = HashMap::new();
        for cadence in [Cadence::Hourly, Cadence::Daily, Cadence::Weekdays] {
            let slot = Slot::of(cadence, server_time);
            let is_due = rows.iter().flatten().any(|persona| persona.cadence == cadence);
            if is_due && !done.contains_key(&slot) {
                let personas = self.pipeline.journal.personas_done_for(&slot).await?;
                done.insert(slot, personas.into_iter().collect());
            }
        }
        Ok(done)
    }
}
