//! Decides the outcome of a run. The decision is pure: the state of the run's row, its report, its metrics
//! and the hold on the persona's next run all follow from one [`Verdict`].

use std::time::Duration;

use super::holds::Hold;
use crate::{
    agent::day_end::{DayEnd, How, Whose},
    clients::auth::{AuthError, AuthRequest, Problem},
    domain::{Action, Outcome, RunOutcome, RunState, Stage, WhyNotRun},
    journal::CANCELLED,
};

/// How long a persona is held back after wrong credentials. Five wrong passwords lock the account, and only a
/// changed configuration can repair the login (docs/contracts/mana-auth.md).
const INVALID_CREDENTIALS_HOLD: Duration = Duration::from_secs(1_800);
/// Reason stored with a run that is closed because its task panicked.
pub(super) const PANICKED: &str = "the run panicked; the log has the place";

/// The part of a run that has ended, with its result.
#[derive(Debug)]
pub(super) enum End {
    /// The run could not begin its main turn, or could not continue from its last step. What was missing may
    /// be available later.
    Barred(Failure),
    /// The main turn ended with this result.
    Day(DayEnd),
    /// The whole run ended: it is closed for this reason, and no rating is requested.
    Closed(String),
    /// The rating turn ended with this result.
    Rating(DayEnd),
    /// The first delivery of the actions was refused for good. The ratings would be refused too.
    Refused(Failure),
}

/// Other facts about the run that the decision depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// An earlier process began the main turn.
    pub is_resumed: bool,
    /// An operator cancelled the run.
    pub is_cancelled: bool,
    /// At least one model request may have been billed.
    pub has_paid: bool,
    /// The model made at least one tool call, listed or not.
    pub has_called: bool,
    /// The model called no tool that mana-mcp lists.
    pub is_idle: bool,
    /// The persona used at least one module, so there is something to rate.
    pub has_used: bool,
}

/// The outcome of a run, and what follows for its row, its report and its persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub then: Then,
    /// The error that ended the run, if there was one.
    pub failure: Option<Failure>,
    /// Why the run ended, as text for the list of runs.
    pub reason: String,
    /// An extra row that is posted with the run's actions: "idle" or "failed run".
    pub mark: Option<Action>,
    /// Whose budget ended the run, if a budget did.
    pub broke: Option<Whose>,
    /// What the run came to, for its facts.
    pub came_to: Outcome,
}

/// What happens to the run after the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The run continues with the rating turn.
    Rate,
    /// The run ends with this state in its row.
    End(RunState),
    /// The run keeps its row and its steps as they are, and is resumed later.
    Postpone,
    /// The run was cancelled while it should have been postponed: it is closed instead.
    Close,
    /// Nothing more is written: the run is left as `kill -9` would leave it.
    Leave,
}

/// The error that ended a run, and the stage in which it occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub stage: Stage,
    pub error: String,
    pub cause: Cause,
}

/// The kind of an error: it decides how the persona is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A fault of the run or of a peer. The persona is held back at least for this duration.
    Fault(Duration),
    /// A fault of this program's journal or of its configuration, not of a peer. The persona is held back as after
    /// a fault.
    Own,
    /// mana-auth refused the login because of the credentials, not because of a locked account.
    Credentials,
    /// The run's time was up. The persona is held back as after a fault.
    Late,
    /// No fault: the run was stopped from outside.
    Stop,
    /// No fault of the run: it waits until mana-mcp is available again.
    Away,
    /// A panic in this program. `Pipeline::close_panicked` closes the run and holds the persona back.
    Panic,
}

/// Decides the outcome of a run from the part that has ended and the facts about the run.
pub(super) fn decide(end: End, facts: &Facts) -> Verdict {
    // A run that paid nothing and called nothing does not use up its slot.
    let is_untouched = !facts.has_paid && !facts.has_called;
    let came_to = match &end {
        End::Barred(failure) | End::Refused(failure) => failure.came_to(),
        End::Day(end) | End::Rating(end) => end.outcome(),
        End::Closed(_) => Outcome::Stopped,
    };
    let end_with = |is_free| Then::End(if is_free { RunState::Failed } else { RunState::Finished });
    let verdict = match end {
        End::Barred(failure) => {
            // A main turn that has begun is paid for, so the run keeps its steps and continues later.
            let is_in_the_day = failure.cause == Cause::Away && failure.stage == Stage::MainTurn;
            let is_begun = facts.is_resumed || is_in_the_day;
            Verdict::failed(if is_begun { Then::Postpone } else { end_with(true) }, failure)
        }
        End::Day(DayEnd { how, reason, .. }) => match how {
            How::Over if facts.has_used => Verdict::well(Then::Rate, reason),
            How::Over => Verdict {
                mark: facts.is_idle.then(Action::idle),
                ..Verdict::well(end_with(false), reason)
            },
            // The budget is used up, so no rating is requested.
            How::Broke(whose) => Verdict {
                mark: (facts.is_idle && !is_untouched).then(Action::idle),
                broke: Some(whose),
                ..Verdict::well(end_with(is_untouched), reason)
            },
            How::Stopped => {
                let owes = !is_untouched && facts.has_used;
                let then =
                    if owes { Then::End(RunState::RatingOwed) } else { end_with(is_untouched) };
                Verdict { reason, ..Verdict::failed(then, Failure::stopped(Stage::MainTurn)) }
            }
            How::Failed => Verdict {
                mark: facts.has_called.then(|| Action::failed_run(&reason)),
                ..Verdict::failed(end_with(!facts.has_called), Failure::at(Stage::MainTurn, reason))
            },
        },
        End::Rating(DayEnd { how, reason, .. }) => match how {
            How::Over | How::Broke(_) => Verdict::well(end_with(false), reason),
            How::Stopped => {
                let failure = Failure::stopped(Stage::RatingTurn);
                Verdict::failed(Then::End(RunState::RatingOwed), failure)
            }
            How::Failed => Verdict::failed(end_with(false), Failure::at(Stage::RatingTurn, reason)),
        },
        End::Closed(why) => Verdict::well(end_with(false), format!("not rated: {why}")),
        End::Refused(failure) => Verdict::failed(end_with(false), failure),
    };
    let verdict = Verdict { came_to, ..verdict };
    if facts.is_cancelled { verdict.for_good() } else { verdict }
}

impl Verdict {
    fn well(then: Then, reason: String) -> Self {
        let came_to = Outcome::Done;
        Self { then, failure: None, reason, mark: None, broke: None, came_to }
    }

    pub(super) fn failed(then: Then, failure: Failure) -> Self {
        let (reason, came_to) = (failure.error.clone(), failure.came_to());
        Self { failure: Some(failure), came_to, ..Self::well(then, reason) }
    }

    /// Changes the verdict to that of a cancelled run: the run is not resumed, and its persona does not run
    /// again in this slot.
    pub(super) fn for_good(mut self) -> Self {
        match self.then {
            Then::End(RunState::Failed | RunState::RatingOwed) => {
                // A cancelled run no longer waits for mana-mcp.
                if let Some(failure @ Failure { cause: Cause::Away, .. }) = &mut self.failure {
                    failure.cause = Cause::Stop;
                }
                let then = Then::End(RunState::Finished);
                Self { then, reason: CANCELLED.to_owned(), came_to: Outcome::Stopped, ..self }
            }
            Then::Postpone => Self { then: Then::Close, ..self },
            _ => self,
        }
    }

    /// Changes the verdict to that of a run whose task panicked: the run has failed, even if it could be
    /// closed without an error.
    pub(super) fn after_panic(self) -> Self {
        let failure = Failure { cause: Cause::Panic, ..Failure::at(Stage::Due, PANICKED) };
        Self { came_to: failure.came_to(), failure: Some(failure), ..self }
    }

    /// The outcome for the report and the metrics.
    pub(super) fn outcome(&self) -> RunOutcome {
        match (&self.failure, self.then) {
            (Some(Failure { cause: Cause::Stop, .. }), _) => RunOutcome::Stopped,
            (Some(Failure { cause: Cause::Away, .. }), _) => RunOutcome::PutOff,
            (Some(_), _) => RunOutcome::Failed,
            (None, Then::End(RunState::Failed)) => RunOutcome::Skipped,
            (None, _) => RunOutcome::Ok,
        }
    }

    /// The stage in which the run failed, or [`Stage::Done`].
    pub(super) fn stage(&self) -> Stage {
        self.failure.as_ref().map_or(Stage::Done, |failure| failure.stage)
    }

    /// The text of the error that ended the run, if there was one.
    pub(super) fn error(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.error.as_str())
    }

    /// Whether mana-auth refused the login because of the credentials.
    pub(super) fn is_refused_login(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Credentials)
    }

    /// The reason under which a skipped run is counted.
    pub(super) fn why_skipped(&self) -> WhyNotRun {
        match self.broke {
            Some(Whose::Persona { .. }) => WhyNotRun::PersonaBudget,
            Some(Whose::Fleet) => WhyNotRun::Budget,
            None => WhyNotRun::Other,
        }
    }

    /// Whether and how the persona's next run is held back.
    pub(super) fn hold(&self) -> Hold {
        match (self.then, &self.failure, self.broke) {
            (Then::End(RunState::Failed) | Then::Postpone, Some(failure), _) => {
                match failure.cause {
                    Cause::Fault(at_least) => Hold::BackOff(at_least),
                    Cause::Credentials => Hold::BackOff(INVALID_CREDENTIALS_HOLD),
                    Cause::Late | Cause::Own => Hold::BackOff(Duration::ZERO),
                    Cause::Away => Hold::Away(failure.error.clone()),
                    Cause::Stop | Cause::Panic => Hold::AsBefore,
                }
            }
            (Then::End(RunState::Failed), None, Some(Whose::Persona { until })) => {
                Hold::Broke(until)
            }
            (Then::End(RunState::Finished | RunState::RatingOwed), ..) => Hold::Release,
            _ => Hold::AsBefore,
        }
    }
}

impl Failure {
    pub(super) fn at(stage: Stage, error: impl ToString) -> Self {
        Self { stage, error: error.to_string(), cause: Cause::Fault(Duration::ZERO) }
    }

    /// A failure that this program's journal or its configuration is to blame for.
    pub(super) fn own(stage: Stage, error: impl ToString) -> Self {
        Self { cause: Cause::Own, ..Self::at(stage, error) }
    }

    pub(super) fn stopped(stage: Stage) -> Self {
        Self { cause: Cause::Stop, ..Self::at(stage, "stopped before its end") }
    }

    /// A failure of a run whose time was up.
    pub(super) fn late(stage: Stage) -> Self {
        Self { cause: Cause::Late, ..Self::at(stage, "the run's time (PERSONA_TIMEOUT_MS) was up") }
    }

    /// What a run came to that ended with this failure.
    fn came_to(&self) -> Outcome {
        match (self.cause, self.stage) {
            (Cause::Stop | Cause::Late, _) => Outcome::Stopped,
            (Cause::Panic | Cause::Own, _) => Outcome::Failed,
            (_, Stage::Login) => Outcome::Login,
            (_, Stage::Space) => Outcome::Space,
            (_, Stage::Mcp) | (Cause::Away, _) => Outcome::Session,
            _ => Outcome::Failed,
        }
    }

    /// A failure of a run that waits until mana-mcp is available again.
    pub(super) fn away(stage: Stage, why: impl ToString) -> Self {
        let error = format!("put off until mana-mcp is there again: {}", why.to_string());
        Self { cause: Cause::Away, ..Self::at(stage, error) }
    }

    pub(super) fn of_auth(error: &AuthError) -> Self {
        let stage = match error.step {
            AuthRequest::Spaces => Stage::Space,
            _ => Stage::Login,
        };
        let cause = match error.problem {
            Problem::InvalidCredentials | Problem::RefusedTooOften(_) => Cause::Credentials,
            Problem::AccountLocked(lock) => Cause::Fault(lock),
            _ => Cause::Fault(Duration::ZERO),
        };
        Self { cause, ..Self::at(stage, error) }
    }
}

#[cfg(test)]
mod tests {
    use RunState::{Failed, Finished, RatingOwed};
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{IDLE_TOOL, Label, RUN_TOOL};

    const HOUR: Duration = Duration::from_secs(3_600);

    /// What follows from a verdict: next step, outcome, stage, mark and hold.
    type Effects = (Then, RunOutcome, Stage, Option<&'static str>, Hold);

    fn effects(verdict: &Verdict) -> Effects {
        let mark = verdict.mark.as_ref().map(|mark| match &*mark.tool_name {
            IDLE_TOOL => "idle",
            RUN_TOOL => "failed",
            other => panic!("{other}"),
        });
        (verdict.then, verdict.outcome(), verdict.stage(), mark, verdict.hold())
    }

    // Each set of facts adds to the one above: paid, any call, a listed tool called, a module used, resumed.
    const NOTHING: Facts = Facts {
        is_resumed: false,
        is_cancelled: false,
        has_paid: false,
        has_called: false,
        is_idle: true,
        has_used: false,
    };
    const PAID: Facts = Facts { has_paid: true, ..NOTHING };
    const INVENTED: Facts = Facts { has_called: true, ..PAID };
    const DENIED: Facts = Facts { is_idle: false, ..INVENTED };
    const USED: Facts = Facts { has_used: true, ..DENIED };
    const RESUMED: Facts = Facts { is_resumed: true, ..USED };

    const BEFORE: Hold = Hold::AsBefore;
    const RELEASE: Hold = Hold::Release;
    const FIRST_STEP: Hold = Hold::BackOff(Duration::ZERO);

    #[test]
    fn each_end_of_a_day_has_one_verdict() {
        use RunOutcome::{Failed as Fault, Ok as Well, Skipped, Stopped as Stop};
        let until = Some(Timestamp::UNIX_EPOCH);
        let (fleet, persona) = (How::Broke(Whose::Fleet), How::Broke(Whose::Persona { until }));
        let (main, done) = (Stage::MainTurn, Stage::Done);
        let (failed, finished) = (Then::End(Failed), Then::End(Finished));
        let (idle, mark) = (Some("idle"), Some("failed"));
        let table: [(How, Facts, Effects); 22] = [
            (How::Over, NOTHING, (finished, Well, done, idle, RELEASE)),
            (How::Over, PAID, (finished, Well, done, idle, RELEASE)),
            (How::Over, INVENTED, (finished, Well, done, idle, RELEASE)),
            (How::Over, DENIED, (finished, Well, done, None, RELEASE)),
            (How::Over, USED, (Then::Rate, Well, done, None, BEFORE)),
            (How::Stopped, NOTHING, (failed, Stop, main, None, BEFORE)),
            (How::Stopped, PAID, (finished, Stop, main, None, RELEASE)),
            (How::Stopped, INVENTED, (finished, Stop, main, None, RELEASE)),
            (How::Stopped, DENIED, (finished, Stop, main, None, RELEASE)),
            (How::Stopped, USED, (Then::End(RatingOwed), Stop, main, None, RELEASE)),
            (fleet, NOTHING, (failed, Skipped, done, None, BEFORE)),
            (fleet, PAID, (finished, Well, done, idle, RELEASE)),
            (fleet, INVENTED, (finished, Well, done, idle, RELEASE)),
            (fleet, DENIED, (finished, Well, done, None, RELEASE)),
            (fleet, USED, (finished, Well, done, None, RELEASE)),
            (persona, NOTHING, (failed, Skipped, done, None, Hold::Broke(until))),
            (persona, PAID, (finished, Well, done, idle, RELEASE)),
            (persona, USED, (finished, Well, done, None, RELEASE)),
            (How::Failed, NOTHING, (failed, Fault, main, None, FIRST_STEP)),
            (How::Failed, PAID, (failed, Fault, main, None, FIRST_STEP)),
            (How::Failed, INVENTED, (finished, Fault, main, mark, RELEASE)),
            (How::Failed, USED, (finished, Fault, main, mark, RELEASE)),
        ];
        for (how, facts, expected) in table {
            let verdict = decide(End::Day(DayEnd::new(how, "why")), &facts);
            assert_eq!(effects(&verdict), expected, "{how:?}, {facts:?}");
            assert_eq!(verdict.reason, "why");
            let error = match how {
                How::Over | How::Broke(_) => None,
                How::Stopped => Some("stopped before its end"),
                How::Failed => Some("why"),
            };
            assert_eq!(verdict.error(), error);
        }
        let broke = |how| decide(End::Day(DayEnd::new(how, "")), &NOTHING).why_skipped();
        assert_eq!([fleet, persona].map(broke), [WhyNotRun::Budget, WhyNotRun::PersonaBudget]);
    }

    #[test]
    fn what_bars_the_way_leaves_the_slot_free_and_a_day_that_has_begun_where_it_was() {
        let failure = |cause| Failure { cause, ..Failure::at(Stage::Login, "why") };
        let in_the_day = Failure::away(Stage::MainTurn, "why");
        let gone = "put off until mana-mcp is there again: why";
        let failed = Then::End(Failed);
        let away = |why: &str| Hold::Away(why.into());
        for (failure, facts, then, outcome, hold) in [
            (failure(Cause::Fault(HOUR)), NOTHING, failed, RunOutcome::Failed, Hold::BackOff(HOUR)),
            (
                failure(Cause::Credentials),
                NOTHING,
                failed,
                RunOutcome::Failed,
                Hold::BackOff(INVALID_CREDENTIALS_HOLD),
            ),
            (failure(Cause::Stop), NOTHING, failed, RunOutcome::Stopped, BEFORE),
            (failure(Cause::Away), NOTHING, failed, RunOutcome::PutOff, away("why")),
            (failure(Cause::Stop), RESUMED, Then::Postpone, RunOutcome::Stopped, BEFORE),
            (failure(Cause::Away), RESUMED, Then::Postpone, RunOutcome::PutOff, away("why")),
            (
                failure(Cause::Fault(HOUR)),
                RESUMED,
                Then::Postpone,
                RunOutcome::Failed,
                Hold::BackOff(HOUR),
            ),
            (in_the_day, PAID, Then::Postpone, RunOutcome::PutOff, away(gone)),
        ] {
            let stage = failure.stage;
            let verdict = decide(End::Barred(failure), &facts);
            assert_eq!(effects(&verdict), (then, outcome, stage, None, hold), "{verdict:?}");
        }
    }

    #[test]
    fn a_rating_is_owed_after_a_stop_and_had_or_given_up_after_anything_else() {
        let finished = Then::End(Finished);
        for (how, then, outcome, stage) in [
            (How::Over, finished, RunOutcome::Ok, Stage::Done),
            (How::Broke(Whose::Fleet), finished, RunOutcome::Ok, Stage::Done),
            (How::Failed, finished, RunOutcome::Failed, Stage::RatingTurn),
            (How::Stopped, Then::End(RatingOwed), RunOutcome::Stopped, Stage::RatingTurn),
        ] {
            let verdict = decide(End::Rating(DayEnd::new(how, "why")), &USED);
            assert_eq!(effects(&verdict), (then, outcome, stage, None, RELEASE), "{how:?}");
        }
        let closed = decide(End::Closed("why".into()), &USED);
        assert_eq!(effects(&closed), (finished, RunOutcome::Ok, Stage::Done, None, RELEASE));
        assert_eq!(closed.reason, "not rated: why");
        let refused = decide(End::Refused(Failure::at(Stage::PostActions, "why")), &USED);
        let expected = (finished, RunOutcome::Failed, Stage::PostActions, None, RELEASE);
        assert_eq!(effects(&refused), expected);
    }

    #[test]
    fn a_cancelled_run_does_not_come_back_and_uses_up_its_slot() {
        let day = |how| End::Day(DayEnd::new(how, "why"));
        let away = Failure::away(Stage::Mcp, "why");
        let finished = Then::End(Finished);
        for (end, facts, then, outcome) in [
            (day(How::Stopped), NOTHING, finished, RunOutcome::Stopped),
            (day(How::Stopped), USED, finished, RunOutcome::Stopped),
            (day(How::Failed), NOTHING, finished, RunOutcome::Failed),
            (End::Barred(away.clone()), NOTHING, finished, RunOutcome::Stopped),
            (End::Barred(away), RESUMED, Then::Close, RunOutcome::PutOff),
            (End::Rating(DayEnd::new(How::Stopped, "why")), USED, finished, RunOutcome::Stopped),
        ] {
            let verdict = decide(end, &Facts { is_cancelled: true, ..facts });
            assert_eq!((verdict.then, verdict.outcome()), (then, outcome), "{verdict:?}");
            if then == finished {
                assert_eq!((verdict.reason.as_str(), verdict.hold()), (CANCELLED, RELEASE));
            }
            assert_eq!(verdict.clone().for_good(), verdict, "once is enough");
        }
    }

    #[test]
    fn what_a_run_came_to_is_decided_with_its_end() {
        let day = |how, outcome| {
            let end = DayEnd { outcome: Some(outcome), ..DayEnd::new(how, "why") };
            decide(End::Day(end.clone()), &USED).came_to == outcome
                && decide(End::Rating(end), &USED).came_to == outcome
        };
        for how in [How::Over, How::Failed, How::Broke(Whose::Fleet), How::Stopped] {
            assert!(Outcome::ALL.iter().all(|outcome| day(how, *outcome)), "{how:?}");
        }
        for (failure, outcome) in [
            (Failure::at(Stage::Login, ""), Outcome::Login),
            (Failure::at(Stage::Space, ""), Outcome::Space),
            (Failure::at(Stage::Mcp, ""), Outcome::Session),
            (Failure::away(Stage::Mcp, ""), Outcome::Session),
            (Failure::at(Stage::MainTurn, ""), Outcome::Failed),
            (Failure::own(Stage::Mcp, ""), Outcome::Failed),
            (Failure::stopped(Stage::Login), Outcome::Stopped),
            (Failure::late(Stage::Mcp), Outcome::Stopped),
        ] {
            let verdict = decide(End::Barred(failure), &NOTHING);
            assert_eq!(verdict.came_to, outcome, "{verdict:?}");
            assert_eq!(verdict.clone().for_good().came_to, Outcome::Stopped);
            assert_eq!(verdict.after_panic().came_to, Outcome::Failed);
        }
        assert_eq!(decide(End::Closed("why".into()), &USED).came_to, Outcome::Stopped);
        let refused = decide(End::Refused(Failure::at(Stage::PostActions, "")), &USED);
        assert_eq!(refused.came_to, Outcome::Failed);
        for failure in [Failure::late(Stage::Login), Failure::own(Stage::Mcp, "")] {
            let verdict = decide(End::Barred(failure), &NOTHING);
            assert_eq!((verdict.outcome(), verdict.hold()), (RunOutcome::Failed, FIRST_STEP));
        }
    }

    #[test]
    fn what_panicked_has_failed_and_is_held_back_by_who_closes_it() {
        let day = |how| decide(End::Day(DayEnd::new(how, "why")), &NOTHING).after_panic();
        for (how, hold) in [(How::Over, RELEASE), (How::Failed, Hold::AsBefore)] {
            let verdict = day(how);
            assert_eq!((verdict.outcome(), verdict.stage()), (RunOutcome::Failed, Stage::Due));
            assert_eq!((verdict.error(), verdict.hold()), (Some(PANICKED), hold));
        }
    }
}
