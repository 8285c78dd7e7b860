//! The part of a run after the main turn: the actions are delivered, the persona rates the modules it used,
//! and the end of the run is written to the journal.

use std::time::Duration;

use super::{Pipeline, RunReport, run::Run};
use crate::{
    agent::{
        day_end::{DayEnd, How},
        ended::Ended,
        rating::{Ratings, run_rating_turn},
        step::{Recorder, Step},
    },
    clients::claude::NotPaid,
    config::PERSONA_MAX_COST_USD,
    domain::{RunOutcome, RunState, Stage},
    journal::EndedRun,
    runner::{
        delivery::HandedIn,
        fleet::Fleet,
        holds::Hold,
        persist::{posts_of_actions, posts_of_ratings},
        verdict::{Cause, End, Failure, Then, Verdict, decide},
    },
};

impl Pipeline {
    /// Decides what follows from the end of the main turn, and delivers the actions if the run continues with
    /// the rating turn.
    pub(super) async fn hand_in_day(&self, run: &mut Run, end: DayEnd) -> Verdict {
        let facts = run.facts();
        let mut verdict = decide(End::Day(end), &facts);
        let actions = run.turn.calls.iter().map(|call| call.to_action());
        let actions: Vec<_> = actions.chain(verdict.mark.take()).collect();
        run.posts = posts_of_actions(run.journal.id, &actions);
        if verdict.then == Then::End(RunState::Finished) && verdict.outcome() != RunOutcome::Failed
        {
            self.fleet.metrics.record_unrated(run.turn.used_modules().len());
        }
        if verdict.then != Then::Rate {
            return verdict;
        }
        let row = run.row(RunState::Running, Stage::RatingTurn, None);
        let handed_in = self.hand_in(run, &row).await;
        if !handed_in.unsaved {
            run.posts.clear();
        }
        match handed_in.refused {
            Some(error) => decide(End::Refused(Failure::at(Stage::PostActions, error)), &facts),
            None => verdict,
        }
    }

    /// Requests the ratings, unless an earlier process has already got them or the run is only closed.
    pub(super) async fn rate(&self, run: &mut Run) -> Verdict {
        let ratings = match (run.left.rated.take(), &run.close) {
            (Some(rows), _) => Ratings { rows, unrated: Vec::new(), ended: None },
            (None, Some(why)) => {
                self.fleet.metrics.record_unrated(run.turn.used_modules().len());
                return decide(End::Closed(why.clone()), &run.facts());
            }
            (None, None) => {
                let earlier = std::mem::take(&mut run.left.rating);
                let (system, turn) = (&run.journal.persona.system_prompt, &run.turn);
                run_rating_turn(&self.claude, system, turn, earlier, &run.scope, &run.journal).await
            }
        };
        let facts = run.facts();
        let later = ratings.ended.as_ref().filter(|_| facts.is_resumed).and_then(why_later);
        let end = match (later, &ratings.ended) {
            (Some(failure), _) => End::Barred(failure),
            (None, Some(ended)) => End::Rating(ended.summary(&run.scope.redactor)),
            (None, None) => {
                let day = DayEnd::new(How::Over, run.day_reason.as_str());
                End::Rating(DayEnd { outcome: run.day_outcome, ..day })
            }
        };
        let verdict = decide(end, &facts);
        if verdict.then == Then::End(RunState::Finished) {
            self.fleet.metrics.record_unrated(ratings.unrated.len());
            run.ratings = ratings.rows.len();
            run.posts.extend(posts_of_ratings(run.journal.id, &ratings.rows));
            if !ratings.unrated.is_empty() {
                run.journal.defer(&Step::Unrated { modules: ratings.unrated }).await;
            }
            run.journal.note(&Step::Rated { rows: ratings.rows }).await;
        } else {
            // Steps that cannot be written stay in memory.
            let _ = run.journal.flush().await;
        }
        verdict
    }

    /// Writes the outcome of the run to the journal, delivers the remaining rows, and makes the report.
    pub(super) async fn finish(&self, mut run: Run, mut verdict: Verdict) -> RunReport {
        let Fleet { holds, metrics, .. } = &*self.fleet;
        let (took, redactor) = (run.started.elapsed(), &run.scope.redactor);
        verdict.reason = redactor.redact(&verdict.reason).into_owned();
        if let Some(failure) = &mut verdict.failure {
            failure.error = redactor.redact(&failure.error).into_owned();
        }
        let user = run.journal.persona.user_id.clone();
        let hold = verdict.hold();
        if matches!(hold, Hold::BackOff(_)) {
            metrics.scheduling.backoffs.inc();
        }
        let what = match verdict.then {
            Then::Postpone => "the unfinished run is tried again later",
            _ => "the persona is held back",
        };
        let until = holds.apply(&user, hold, what);
        // Set if the last steps could not be written: the inner value is the row of the run's end, if it has
        // ended.
        let unsaved = match verdict.then {
            Then::End(state) => {
                if run.left.lost_an_answer {
                    metrics.model.answers_lost.inc();
                }
                let row = run.row(state, verdict.stage(), Some(verdict.reason.clone()));
                // A run that did not go on with its day has met no later build than before.
                let has_met = run.close.is_none() && !run.is_rating;
                let deployment_end =
                    if has_met { self.fleet.deployment_at_end().await } else { None };
                let (outcome, next_eligible_at) = (verdict.came_to, until);
                let facts = run.learned(outcome);
                let row = EndedRun { next_eligible_at, outcome, facts, deployment_end, ..row };
                let handed_in = self.hand_in(&mut run, &row).await;
                if let (Some(error), None) = (handed_in.refused, &verdict.failure) {
                    let stage =
                        if run.ratings > 0 { Stage::PostFeedback } else { Stage::PostActions };
                    verdict.failure = Some(Failure::at(stage, error));
                }
                handed_in.unsaved.then_some(Some(row))
            }
            Then::Postpone | Then::Close => {
                // Only the steps and the hold are written: the row of the run does not change.
                if let Some(until) = until {
                    self.write_hold(run.journal.id, until).await;
                }
                run.journal.flush().await.is_err().then_some(None)
            }
            Then::Leave | Then::Rate => None,
        };
        let report = self.report(&run, verdict, took);
        if let Some(row) = unsaved {
            self.deliverer.keep(run.journal, row.map(|row| (row, run.posts))).await;
        }
        report
    }

    /// Makes the report of a run, and logs and counts it. A run that still has to be closed is not logged and
    /// counted here, because closing it does that.
    fn report(&self, run: &Run, verdict: Verdict, took: Duration) -> RunReport {
        let Fleet { metrics, seed_secret, clock, .. } = &*self.fleet;
        let report = RunReport { undelivered: run.undelivered, cost: run.journal.spent(), verdict };
        let verdict = &report.verdict;
        if verdict.then == Then::Close {
            return report;
        }
        let outcome = verdict.outcome();
        metrics.record_run(outcome, verdict.stage(), took, run.scope.patience.spent());
        if outcome == RunOutcome::Ok {
            metrics.record_finished_run(clock.now());
        }
        run.log(&report, took);
        if verdict.is_refused_login() && seed_secret.has_fitted() {
            seed_secret.blame(&run.journal.persona.user_id);
        }
        report
    }

    async fn hand_in(&self, run: &mut Run, row: &EndedRun) -> HandedIn {
        let Run { journal, scope, posts, end, .. } = &*run;
        let handed_in = self.deliverer.hand_in(journal, row, posts, *end, &scope.shutdown).await;
        run.undelivered |= handed_in.undelivered > 0;
        handed_in
    }
}

/// The reason to postpone a rating that was not requested, if it may be possible later.
fn why_later(ended: &Ended) -> Option<Failure> {
    let variable = match ended {
        Ended::Model(error) if error.may_pass() => {
            return Some(Failure::at(Stage::RatingTurn, error));
        }
        Ended::NotPaid {
            why:
                NotPaid::Budget { persona_broke_until: None, variable }
                | NotPaid::TooDear { variable, .. },
            ..
        } if *variable != PERSONA_MAX_COST_USD => variable,
        _ => return None,
    };
    let error = format!("the rating waits until {variable} allows it");
    Some(Failure { cause: Cause::Stop, ..Failure::at(Stage::RatingTurn, error) })
}
