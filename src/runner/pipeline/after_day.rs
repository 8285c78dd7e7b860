//! What follows the main turn: its rows are handed in, and the persona rates what it used.

use super::{
    Finish, Pipeline,
    live::{Live, Progress},
    report::Failure,
};
use crate::{
    agent::{
        day::MainTurn,
        ended::Ended,
        rating::{Ratings, run_rating_turn},
        step::{DayEnd, Recorder, Step},
    },
    config::PERSONA_MAX_COST_USD,
    domain::{Action, ModuleRating},
    journal::{CANCELLED, RunState},
    metrics::{Stage, WhyNotRun},
    runner::{
        budget::next_day,
        persist::{posts_of_actions, posts_of_ratings},
    },
};

impl Pipeline {
    /// Hands in what happened in the main turn. The end of the run, or nothing if the persona is to
    /// rate.
    pub(super) async fn hand_in_day(
        &self,
        live: &Live<'_>,
        turn: &MainTurn,
        end: DayEnd,
        progress: &mut Progress,
    ) -> Option<Finish> {
        let used = turn.used_modules();
        let mut actions: Vec<_> = turn.calls.iter().map(|call| call.to_action()).collect();
        let nothing_paid =
            turn.spent == Default::default() && !live.journal.has_paid() && actions.is_empty();
        match &end.failure {
            Some(reason) if !actions.is_empty() => actions.push(Action::failed_run(reason)),
            None if turn.is_idle() && !end.stopped && !(end.out_of_money && nothing_paid) => {
                actions.push(Action::idle());
            }
            _ => {}
        }
        let posts = posts_of_actions(live.journal.id, &actions);
        let stage = Stage::MainTurn;
        let slot_is_used = if actions.is_empty() { RunState::Failed } else { RunState::Finished };
        let over = |state, failure: Option<Failure>| Finish {
            state,
            stage: failure.as_ref().map_or(Stage::Done, |failure| failure.stage),
            failure,
            posts: posts.clone(),
            reason: end.reason.clone(),
            broke_until: None,
            broke: None,
            is_postponed: false,
        };
        if let Some(reason) = &end.failure {
            return Some(over(slot_is_used, Some(Failure::at(stage, reason))));
        }
        if end.stopped {
            if live.cancelled.is_cancelled() {
                self.metrics.record_unrated(used.len());
            }
            let state = match (nothing_paid, used.is_empty()) {
                (true, _) => RunState::Failed,
                (false, true) => RunState::Finished,
                (false, false) => RunState::RatingOwed,
            };
            return Some(over(state, Some(Failure::stopped(stage))));
        }
        if end.out_of_money {
            // The rating would cost more than there is.
            self.metrics.record_unrated(used.len());
            return Some(Finish {
                broke_until: (nothing_paid && end.persona_is_broke)
                    .then(|| end.broke_until.unwrap_or_else(|| next_day(self.clock.now()))),
                broke: Some(match end.persona_is_broke {
                    true => WhyNotRun::PersonaBudget,
                    false => WhyNotRun::Budget,
                }),
                ..over(slot_is_used, None)
            });
        }
        if used.is_empty() {
            return Some(over(RunState::Finished, None));
        }
        let ended = progress.ended(RunState::Running, Stage::RatingTurn, None);
        let user = &live.persona.user_id;
        let handed_in = self
            .outbox
            .hand_in(&live.journal, user, &ended, &posts, live.end, &live.shutdown)
            .await;
        progress.undelivered |= handed_in.undelivered > 0;
        if handed_in.unsaved {
            progress.unsaved_posts = posts;
        }
        // Whose actions are refused for good, their ratings would be too.
        let error = handed_in.refused?;
        let failure = Failure::at(Stage::PostActions, error);
        Some(Finish::failed(RunState::Finished, failure))
    }

    /// Asks for the ratings, unless an earlier process has them or the run is only closed.
    pub(super) async fn rate(
        &self,
        live: &Live<'_>,
        turn: &MainTurn,
        earlier: Vec<Step>,
        rated: Option<Vec<ModuleRating>>,
        close: Option<&str>,
        progress: &mut Progress,
    ) -> Finish {
        let ratings = match (rated, close) {
            (Some(rows), _) => {
                Ratings { rows, unrated: Vec::new(), ended: None, spent: Default::default() }
            }
            (None, Some(why)) => {
                self.metrics.record_unrated(turn.used_modules().len());
                return Finish { reason: format!("not rated: {why}"), ..Finish::well(Vec::new()) };
            }
            (None, None) => {
                let redactor = progress.redactor.as_ref().unwrap_or(&live.redactor);
                let scope = self.scope(live, redactor, progress);
                let (claude, system) = (&self.claude, &live.persona.system_prompt);
                run_rating_turn(claude, system, turn, earlier, &scope, &live.journal).await
            }
        };
        live.journal.give_up_waiting().await;
        progress.note_rating(ratings.spent, live.journal.lost());
        match &ratings.ended {
            // It is owed still.
            Some(Ended::Model(error)) if progress.is_resumed && error.may_pass() => {
                return Finish::postponed(Failure::at(Stage::RatingTurn, error));
            }
            Some(
                Ended::Budget { persona_broke_until: None, variable }
                | Ended::TooDear { variable, .. },
            ) if progress.is_resumed && *variable != PERSONA_MAX_COST_USD => {
                let error = format!("the rating waits until {variable} allows it");
                let failure = Failure::at(Stage::RatingTurn, error);
                return Finish::postponed(Failure { stopped: true, ..failure });
            }
            _ => {}
        }
        let is_stopped = matches!(ratings.ended, Some(Ended::Stopped));
        if is_stopped && !live.cancelled.is_cancelled() {
            return Finish::failed(RunState::RatingOwed, Failure::stopped(Stage::RatingTurn));
        }
        self.metrics.record_unrated(ratings.unrated.len());
        live.journal.note(&Step::Rated { rows: ratings.rows.clone() }).await;
        progress.ratings = ratings.rows.len();
        let posts = posts_of_ratings(live.journal.id, &ratings.rows);
        if is_stopped {
            let failure = Failure::stopped(Stage::RatingTurn);
            let reason = CANCELLED.to_owned();
            return Finish { posts, reason, ..Finish::failed(RunState::Finished, failure) };
        }
        let redactor = progress.redactor.as_ref().unwrap_or(&live.redactor);
        match ratings.ended.as_ref().map(|ended| ended.summary(redactor)) {
            // Rated or not, a day that ended oddly is told from one that was done.
            None => match progress.day_ended.take() {
                Some(reason) => Finish { reason, ..Finish::well(posts) },
                None => Finish::well(posts),
            },
            Some(end) => match end.failure {
                Some(error) => {
                    let failure = Failure::at(Stage::RatingTurn, error);
                    Finish { posts, ..Finish::failed(RunState::Finished, failure) }
                }
                None => Finish { reason: end.reason, ..Finish::well(posts) },
            },
        }
    }
}
