//! What becomes of a run: one pure decision. The state of its row, what is reported and counted, and what it
//! means for the next run of its persona follow from it.

use std::time::Duration;

use super::holds::Hold;
use crate::{
    agent::day_end::{DayEnd, How, Whose},
    clients::auth::{AuthError, AuthRequest, Problem},
    domain::{Action, RunOutcome, RunState, Stage, WhyNotRun},
    journal::CANCELLED,
};

/// How long wrong credentials hold a persona back: five of them lock the account, and only a
/// configuration can heal it (docs/contracts/mana-auth.md).
const INVALID_CREDENTIALS_HOLD: Duration = Duration::from_secs(1_800);
/// Why a run is closed in which something panicked.
pub(super) const PANICKED: &str = "the run panicked; the log has the place";

/// What came to its end in a run.
#[derive(Debug)]
pub(super) enum End {
    /// The way into its day, or back to where it was: something is missing that may be there later.
    Barred(Failure),
    /// Its main turn.
    Day(DayEnd),
    /// All of it: it is only closed, for this reason, and its rating not asked for.
    Closed(String),
    /// Its rating turn.
    Rating(DayEnd),
    /// The first delivery of its actions, which are refused for good: its ratings would be too.
    Refused(Failure),
}

/// What is known of the run besides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// An earlier process has begun its day.
    pub is_resumed: bool,
    /// Somebody has cancelled it.
    pub is_cancelled: bool,
    /// A model request may have been billed.
    pub has_paid: bool,
    /// The model has called something.
    pub has_called: bool,
    /// It has called no tool that is listed.
    pub is_idle: bool,
    /// There is something to be rated.
    pub has_used: bool,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub then: Then,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
    /// Why it ended, in words for a list of runs.
    pub reason: String,
    /// What is to be seen among its actions besides them.
    pub mark: Option<Action>,
    /// Whose money was short, if that ended it.
    pub broke: Option<Whose>,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The persona rates what it used.
    Rate,
    /// The run ends like this.
    End(RunState),
    /// It stays where it was, and is tried again later.
    Postpone,
    /// It was cancelled before it had got to where it was: it is to be closed.
    Close,
    /// It is left as kill -9 leaves it.
    Leave,
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub stage: Stage,
    pub error: String,
    pub cause: Cause,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its own or a peer's. The persona is held back, for so long at least.
    Fault(Duration),
    /// The login was refused for its credentials (not for a lock).
    Credentials,
    /// Nobody's: it was stopped from outside.
    Stop,
    /// Nobody's either: it waits for mana-mcp.
    Away,
    /// This program's. Who closes the run holds its persona back.
    Panic,
}

/// What becomes of a run that has got so far.
pub(super) fn decide(end: End, facts: &Facts) -> Verdict {
    // What has left no trace leaves its slot free.
    let is_untouched = !facts.has_paid && !facts.has_called;
    let end_with = |is_free| Then::End(if is_free { RunState::Failed } else { RunState::Finished });
    let verdict = match end {
        End::Barred(failure) => {
            // Paid for, and where it was.
            let is_begun = facts.is_resumed || failure.is_in_the_day();
            Verdict::failed(if is_begun { Then::Postpone } else { end_with(true) }, failure)
        }
        End::Day(DayEnd { how, reason }) => match how {
            How::Over if facts.has_used => Verdict::well(Then::Rate, reason),
            How::Over => Verdict {
                mark: facts.is_idle.then(Action::idle),
                ..Verdict::well(end_with(false), reason)
            },
            // The rating would cost more than there is.
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
        End::Rating(DayEnd { how, reason }) => match how {
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
    if facts.is_cancelled { verdict.for_good() } else { verdict }
}

impl Verdict {
    fn well(then: Then, reason: String) -> Self {
        Self { then, failure: None, reason, mark: None, broke: None }
    }

    pub(super) fn failed(then: Then, failure: Failure) -> Self {
        let reason = failure.error.clone();
        Self { failure: Some(failure), ..Self::well(then, reason) }
    }

    /// That of a cancelled run: it does not come back, nor does its persona in this slot.
    pub(super) fn for_good(mut self) -> Self {
        match self.then {
            Then::End(RunState::Failed | RunState::RatingOwed) => {
                // Nobody waits for mana-mcp with it any more.
                if let Some(failure @ Failure { cause: Cause::Away, .. }) = &mut self.failure {
                    failure.cause = Cause::Stop;
                }
                let then = Then::End(RunState::Finished);
                Self { then, reason: CANCELLED.to_owned(), ..self }
            }
            Then::Postpone => Self { then: Then::Close, ..self },
            _ => self,
        }
    }

    /// That of a run in which something has panicked: however well it is closed, it has failed.
    pub(super) fn after_panic(self) -> Self {
        let failure = Failure { cause: Cause::Panic, ..Failure::at(Stage::Due, PANICKED) };
        Self { failure: Some(failure), ..self }
    }

    /// How it is reported and counted.
    pub(super) fn outcome(&self) -> RunOutcome {
        match (&self.failure, self.then) {
            (Some(Failure { cause: Cause::Stop, .. }), _) => RunOutcome::Stopped,
            (Some(Failure { cause: Cause::Away, .. }), _) => RunOutcome::PutOff,
            (Some(_), _) => RunOutcome::Failed,
            (None, Then::End(RunState::Failed)) => RunOutcome::Skipped,
            (None, _) => RunOutcome::Ok,
        }
    }

    /// Where it ended.
    pub(super) fn stage(&self) -> Stage {
        self.failure.as_ref().map_or(Stage::Done, |failure| failure.stage)
    }

    /// What went wrong, if anything did.
    pub(super) fn error(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.error.as_str())
    }

    /// Whether the login was refused for its credentials.
    pub(super) fn is_refused_login(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Credentials)
    }

    /// Why it counts as a persona that did not run, where it is skipped.
    pub(super) fn why_skipped(&self) -> WhyNotRun {
        match self.broke {
            Some(Whose::Persona { .. }) => WhyNotRun::PersonaBudget,
            Some(Whose::Fleet) => WhyNotRun::Budget,
            None => WhyNotRun::Other,
        }
    }

    /// What it means for the next run of the persona.
    pub(super) fn hold(&self) -> Hold {
        match (self.then, &self.failure, self.broke) {
            (Then::End(RunState::Failed) | Then::Postpone, Some(failure), _) => {
                match failure.cause {
                    Cause::Fault(at_least) => Hold::BackOff(at_least),
                    Cause::Credentials => Hold::BackOff(INVALID_CREDENTIALS_HOLD),
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

    pub(super) fn stopped(stage: Stage) -> Self {
        Self { cause: Cause::Stop, ..Self::at(stage, "stopped before its end") }
    }

    /// Mana-mcp is away.
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

    /// Whether mana-mcp went away in the middle of the day: what was paid for is gone on with.
    fn is_in_the_day(&self) -> bool {
        self.cause == Cause::Away && self.stage == Stage::MainTurn
    }
}

#[cfg(test)]
mod tests {
    use RunState::{Failed, Finished, RatingOwed};
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{IDLE_TOOL, RUN_TOOL};

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Where the run goes, how it is counted and at which stage, its mark and what it means for the next one.
    type Told = (Then, RunOutcome, Stage, Option<&'static str>, Hold);

    fn told(verdict: &Verdict) -> Told {
        let mark = verdict.mark.as_ref().map(|mark| match &*mark.tool_name {
            IDLE_TOOL => "idle",
            RUN_TOOL => "failed",
            other => panic!("{other}"),
        });
        (verdict.then, verdict.outcome(), verdict.stage(), mark, verdict.hold())
    }

    /// Nothing yet, or all of it: paid for, a listed tool called, a module used.
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
        let table: [(How, Facts, Told); 22] = [
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
            assert_eq!(told(&verdict), expected, "{how:?}, {facts:?}");
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
            assert_eq!(told(&verdict), (then, outcome, stage, None, hold), "{verdict:?}");
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
            assert_eq!(told(&verdict), (then, outcome, stage, None, RELEASE), "{how:?}");
        }
        let closed = decide(End::Closed("why".into()), &USED);
        assert_eq!(told(&closed), (finished, RunOutcome::Ok, Stage::Done, None, RELEASE));
        assert_eq!(closed.reason, "not rated: why");
        let refused = decide(End::Refused(Failure::at(Stage::PostActions, "why")), &USED);
        let expected = (finished, RunOutcome::Failed, Stage::PostActions, None, RELEASE);
        assert_eq!(told(&refused), expected);
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
    fn what_panicked_has_failed_and_is_held_back_by_who_closes_it() {
        let day = |how| decide(End::Day(DayEnd::new(how, "why")), &NOTHING).after_panic();
        for (how, hold) in [(How::Over, RELEASE), (How::Failed, Hold::AsBefore)] {
            let verdict = day(how);
            assert_eq!((verdict.outcome(), verdict.stage()), (RunOutcome::Failed, Stage::Due));
            assert_eq!((verdict.error(), verdict.hold()), (Some(PANICKED), hold));
        }
    }
}
