//! What a tool call goes through until its outcome stands. Pure decisions; each remedy is tried once.

use std::time::Duration;

use crate::{
    clients::mcp::{CallError, Content, ToolOutput},
    metrics::SessionRenewal,
};

/// What tools of encrypted modules say to a persona without a vault (contracts/mana-auth.md).
const NO_VAULT: &str = "VAULT_NOT_INITIALISED";

/// What has been tried for a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    only_reads: bool,
    asked_again: bool,
    session_lost: bool,
    unauthorized: bool,
    vault_missed: bool,
}

/// What comes before the call is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is not: its outcome stands.
    Over,
    /// Nothing.
    AskAgain,
    /// Another session.
    Renew(SessionRenewal),
    /// The persona's vault.
    InitVault,
}

impl Course {
    pub(super) fn new(only_reads: bool) -> Self {
        Self { only_reads, ..Self::default() }
    }

    /// How long to wait for an answer, if `left` is left for it all. A read that may be tried once more
    /// leaves a third of its time for that; of the default, the rest is what mana-mcp itself waits.
    pub(super) fn patience(&self, left: Duration) -> Duration {
        if self.only_reads && !self.asked_again { left * 2 / 3 } else { left }
    }

    /// What comes after this outcome. What the server refused at the door did not run, and a tool that
    /// misses the vault has done nothing, so both may be repeated whatever they do; where the outcome
    /// is unknown, only what reads may.
    pub(super) fn after(&mut self, result: &Result<ToolOutput, CallError>) -> Next {
        let (tried, next) = match result {
            Err(CallError::SessionLost) => {
                (&mut self.session_lost, Next::Renew(SessionRenewal::Lost))
            }
            Err(CallError::Unauthorized { .. }) => {
                (&mut self.unauthorized, Next::Renew(SessionRenewal::Unauthorized))
            }
            Err(CallError::OutcomeUnknown { .. }) if self.only_reads => {
                (&mut self.asked_again, Next::AskAgain)
            }
            result if misses_vault(result) => (&mut self.vault_missed, Next::InitVault),
            _ => return Next::Over,
        };
        if std::mem::replace(tried, true) { Next::Over } else { next }
    }

    /// The error of a call that had so long, as it is told. A read has done nothing, whatever its outcome.
    pub(super) fn judge(&self, error: CallError, limit: Duration, is_late: bool) -> CallError {
        match error {
            CallError::OutcomeUnknown { reason } if self.only_reads => {
                let reason = match is_late {
                    true => format!("no answer within {} s", limit.as_secs_f64()),
                    false => reason,
                };
                let times = if self.asked_again { "twice" } else { "once" };
                CallError::Unanswered { reason: format!("{reason} (asked {times})") }
            }
            error => error,
        }
    }
}

fn misses_vault(result: &Result<ToolOutput, CallError>) -> bool {
    match result {
        Ok(output) => {
            output.is_error
                && output.content.iter().any(
                    |content| matches!(content, Content::Text(text) if text.contains(NO_VAULT)),
                )
        }
        Err(CallError::Rejected { message, .. }) => message.contains(NO_VAULT),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<ToolOutput, CallError>;

    const LOST: Next = Next::Renew(SessionRenewal::Lost);
    const UNAUTHORIZED: Next = Next::Renew(SessionRenewal::Unauthorized);

    fn lost() -> Outcome {
        Err(CallError::SessionLost)
    }

    fn unauthorized() -> Outcome {
        Err(CallError::Unauthorized { reason: "401".into() })
    }

    fn unknown() -> Outcome {
        Err(CallError::OutcomeUnknown { reason: "silence".into() })
    }

    fn no_vault() -> Outcome {
        let content = vec![Content::Text(format!("{NO_VAULT}: set it up"))];
        Ok(ToolOutput { content, is_error: true, ..ToolOutput::default() })
    }

    fn not_run() -> Outcome {
        Err(CallError::NotRun { reason: "503".into(), transient: true, retry_after: None })
    }

    /// What comes after each of these outcomes of one call.
    fn course(only_reads: bool, outcomes: &[Outcome]) -> Vec<Next> {
        let mut course = Course::new(only_reads);
        outcomes.iter().map(|outcome| course.after(outcome)).collect()
    }

    #[test]
    fn each_remedy_is_tried_once_whatever_the_call_does() {
        for only_reads in [false, true] {
            assert_eq!(course(only_reads, &[lost(), lost()]), [LOST, Next::Over]);
            assert_eq!(
                course(only_reads, &[unauthorized(), unauthorized()]),
                [UNAUTHORIZED, Next::Over]
            );
            assert_eq!(
                course(only_reads, &[no_vault(), no_vault()]),
                [Next::InitVault, Next::Over]
            );
            assert_eq!(
                course(
                    only_reads,
                    &[lost(), unauthorized(), no_vault(), Ok(ToolOutput::default())]
                ),
                [LOST, UNAUTHORIZED, Next::InitVault, Next::Over]
            );
            assert_eq!(course(only_reads, &[not_run()]), [Next::Over]);
        }
    }

    #[test]
    fn where_the_outcome_is_unknown_a_read_is_asked_once_more_and_a_write_is_not() {
        assert_eq!(course(true, &[unknown(), unknown()]), [Next::AskAgain, Next::Over]);
        assert_eq!(course(false, &[unknown()]), [Next::Over]);
        assert_eq!(course(false, &[lost(), unknown()]), [LOST, Next::Over]);
    }

    #[test]
    fn a_read_without_an_answer_is_told_as_that_and_a_write_as_unknown() {
        let limit = Duration::from_secs(15);
        let silence = || CallError::OutcomeUnknown { reason: "silence".into() };
        let mut read = Course::new(true);
        let told = |course: &Course, is_late| course.judge(silence(), limit, is_late).to_string();
        assert_eq!(told(&read, false), "silence (asked once)");
        read.after(&unknown());
        assert_eq!(told(&read, false), "silence (asked twice)");
        assert_eq!(told(&read, true), "no answer within 15 s (asked twice)");
        assert_eq!(told(&Course::new(false), true), "outcome unknown: silence");
    }

    #[test]
    fn an_answer_that_was_too_long_is_not_asked_for_again() {
        assert_eq!(course(true, &[Err(CallError::Oversized { limit: 1 })]), [Next::Over]);
    }

    #[test]
    fn a_read_leaves_time_for_its_second_attempt() {
        let left = Duration::from_secs(15);
        let mut read = Course::new(true);
        assert_eq!(read.patience(left), Duration::from_secs(10));
        read.after(&unknown());
        assert_eq!(read.patience(left), left);
        assert_eq!(Course::new(false).patience(left), left);
    }

    #[test]
    fn only_an_error_asks_for_the_vault() {
        let content = vec![Content::Text(NO_VAULT.into())];
        assert_eq!(
            course(false, &[Ok(ToolOutput { content, ..Default::default() })]),
            [Next::Over]
        );
        let rejected = CallError::Rejected { code: -32603, message: NO_VAULT.into() };
        assert_eq!(course(false, &[Err(rejected)]), [Next::InitVault]);
    }
}
