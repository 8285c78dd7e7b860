//! Decides after each attempt of a tool call whether the call is sent again, and what must be done before.
//! The decisions are pure. Each remedy is tried once for a call.

use std::time::Duration;

use crate::{
    clients::mcp::{Content, Fate, McpError, ToolOutput},
    metrics::SessionRenewal,
};

/// Text in the error of a tool of an encrypted module if the persona has no vault
/// (docs/contracts/mana-auth.md).
const NO_VAULT: &str = "VAULT_NOT_INITIALISED";

/// The remedies that have been tried for one tool call.
#[derive(Debug)]
pub(super) struct Course {
    only_reads: bool,
    tried: Vec<Remedy>,
}

/// What is done before a call is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The call is sent again at once.
    AskAgain,
    /// The session is replaced first.
    Renew(SessionRenewal),
    /// The persona's vault is initialised first.
    InitVault,
}

impl Course {
    pub(super) fn new(only_reads: bool) -> Self {
        Self { only_reads, tried: Vec::new() }
    }

    fn asked_again(&self) -> bool {
        self.tried.contains(&Remedy::AskAgain)
    }

    /// How long to wait for the answer to the next attempt, if `left` is the time left for the call. A read
    /// that may be sent once more keeps a third of the time for that attempt. With the default limit, the
    /// other two thirds are the 10 s after which mana-mcp itself gives a call up.
    pub(super) fn patience(&self, left: Duration) -> Duration {
        if self.only_reads && !self.asked_again() { left * 2 / 3 } else { left }
    }

    /// The remedy after this result, or `None` if the result is final. A call that the server refused before
    /// running it, and a call without a vault, have done nothing, so reads and writes may be repeated. After
    /// an unknown outcome only a read may be repeated.
    pub(super) fn after(&mut self, result: &Result<ToolOutput, McpError>) -> Option<Remedy> {
        let remedy = match result {
            result if misses_vault(result) => Remedy::InitVault,
            Err(error) => match error.fate {
                Fate::SessionLost => Remedy::Renew(SessionRenewal::Lost),
                Fate::Unauthorized => Remedy::Renew(SessionRenewal::Unauthorized),
                Fate::Unknown if self.only_reads => Remedy::AskAgain,
                _ => return None,
            },
            Ok(_) => return None,
        };
        if self.tried.contains(&remedy) {
            return None;
        }
        self.tried.push(remedy);
        Some(remedy)
    }

    /// The final error of a call with the time limit `limit`. An unknown outcome of a read becomes
    /// "unanswered", because a read changes nothing.
    pub(super) fn judge(&self, mut error: McpError, limit: Duration, is_late: bool) -> McpError {
        if self.only_reads && error.fate == Fate::Unknown {
            error.fate = Fate::Unanswered;
            if is_late {
                error.reason = format!("no answer within {} s", limit.as_secs_f64());
            }
            let times = if self.asked_again() { "twice" } else { "once" };
            error.reason += &format!(" (asked {times})");
        }
        error
    }
}

fn misses_vault(result: &Result<ToolOutput, McpError>) -> bool {
    let says_so =
        |content: &Content| matches!(content, Content::Text(text) if text.contains(NO_VAULT));
    match result {
        Ok(output) => output.is_error && output.content.iter().any(says_so),
        Err(error) => error.fate == Fate::Rejected && error.reason.contains(NO_VAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<ToolOutput, McpError>;

    const LOST: Option<Remedy> = Some(Remedy::Renew(SessionRenewal::Lost));
    const UNAUTHORIZED: Option<Remedy> = Some(Remedy::Renew(SessionRenewal::Unauthorized));

    fn failed(fate: Fate, reason: &str) -> Outcome {
        Err(McpError { fate, reason: reason.into(), status: None })
    }

    fn lost() -> Outcome {
        failed(Fate::SessionLost, "404")
    }

    fn unauthorized() -> Outcome {
        failed(Fate::Unauthorized, "401")
    }

    fn unknown() -> Outcome {
        failed(Fate::Unknown, "silence")
    }

    fn no_vault() -> Outcome {
        let content = vec![Content::Text(format!("{NO_VAULT}: set it up"))];
        Ok(ToolOutput { content, is_error: true, ..ToolOutput::default() })
    }

    fn not_run() -> Outcome {
        failed(Fate::Busy(None), "503")
    }

    /// The remedy after each of these results of one call.
    fn remedies(only_reads: bool, outcomes: &[Outcome]) -> Vec<Option<Remedy>> {
        let mut course = Course::new(only_reads);
        outcomes.iter().map(|outcome| course.after(outcome)).collect()
    }

    #[test]
    fn each_remedy_is_tried_once_whatever_the_call_does() {
        for only_reads in [false, true] {
            assert_eq!(remedies(only_reads, &[lost(), lost()]), [LOST, None]);
            assert_eq!(
                remedies(only_reads, &[unauthorized(), unauthorized()]),
                [UNAUTHORIZED, None]
            );
            assert_eq!(
                remedies(only_reads, &[no_vault(), no_vault()]),
                [Some(Remedy::InitVault), None]
            );
            assert_eq!(
                remedies(
                    only_reads,
                    &[lost(), unauthorized(), no_vault(), Ok(ToolOutput::default())]
                ),
                [LOST, UNAUTHORIZED, Some(Remedy::InitVault), None]
            );
            assert_eq!(remedies(only_reads, &[not_run()]), [None]);
        }
    }

    #[test]
    fn where_the_outcome_is_unknown_a_read_is_asked_once_more_and_a_write_is_not() {
        assert_eq!(remedies(true, &[unknown(), unknown()]), [Some(Remedy::AskAgain), None]);
        assert_eq!(remedies(false, &[unknown()]), [None]);
        assert_eq!(remedies(false, &[lost(), unknown()]), [LOST, None]);
    }

    #[test]
    fn a_read_without_an_answer_is_told_as_that_and_a_write_as_unknown() {
        let limit = Duration::from_secs(15);
        let silence = || McpError::unknown("silence");
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
        assert_eq!(remedies(true, &[failed(Fate::Oversized, "long")]), [None]);
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
        assert_eq!(remedies(false, &[Ok(ToolOutput { content, ..Default::default() })]), [None]);
        assert_eq!(remedies(false, &[failed(Fate::Rejected, NO_VAULT)]), [Some(Remedy::InitVault)]);
    }
}
