//! Whether ticks can do their work and runs may begin: all that can be in the way, with one ranking.

use tokio::sync::OwnedSemaphorePermit;

use super::{
    control::PausedBy,
    fleet::{Fleet, LastTick},
};
use crate::{
    clients::claude::{self, ClaudeClient},
    domain::WhyNotRun,
};

/// What keeps ticks from their work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hindrance {
    /// A stop was asked for.
    #[error("the daemon is stopping")]
    Stopping,
    /// Variables without which there are no ticks.
    #[error("{} not set; ticks are disabled", are(.0))]
    Unset(Vec<&'static str>),
    /// Something that waiting does not heal stops all use of the model.
    #[error("the model is not used for now: {0}")]
    ModelStopped(String),
    /// Nothing can be written down, so nothing may be paid for.
    #[error("{0}")]
    Journal(String),
    /// The fleet's money is used up.
    #[error("{0}")]
    Budget(String),
    /// The last tick did not learn who is due.
    #[error("{0}")]
    Due(String),
    /// Every login of the last tick was refused, and none has ever been accepted.
    #[error("every login was refused: PERSONA_SEED_SECRET does not match")]
    SeedSecret,
    /// No run of the last tick got anything out of mana-mcp.
    #[error("{0}")]
    NoSession(String),
    /// Somebody wants no ticks.
    #[error("{}", match .0 {
        PausedBy::Environment => "RUNNER_PAUSED is set",
        PausedBy::Request(_) => "paused on request",
    })]
    Paused(PausedBy),
}

impl Hindrance {
    /// Whether something is wrong. A stop and a pause are somebody's wish.
    pub(crate) fn is_trouble(&self) -> bool {
        !matches!(self, Self::Stopping | Self::Paused(_))
    }

    /// Why a due persona does not run; `None` where runs begin all the same.
    pub(super) fn why_not_run(&self) -> Option<WhyNotRun> {
        match self {
            Self::Stopping => Some(WhyNotRun::RunnerDown),
            Self::ModelStopped(_) => Some(WhyNotRun::ModelStopped),
            Self::Journal(_) => Some(WhyNotRun::Other),
            Self::Budget(_) => Some(WhyNotRun::Budget),
            Self::Paused(_) => Some(WhyNotRun::Paused),
            Self::Unset(_) | Self::Due(_) | Self::SeedSecret | Self::NoSession(_) => None,
        }
    }
}

fn are(variables: &[&str]) -> String {
    let verb = if variables.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", variables.join(" and "))
}

/// How many runs may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Any number.
    All,
    /// One, to see whether Claude is to be had again.
    Probe,
}

impl Admitted {
    pub(super) fn most(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Probe => 1,
        }
    }
}

/// A tick may take place. Dropped, it tells the client of the model that the tick is over.
#[derive(Debug)]
pub(super) struct TickPermit<'a> {
    claude: &'a ClaudeClient,
    pub admitted: Admitted,
}

impl Drop for TickPermit<'_> {
    fn drop(&mut self) {
        self.claude.end_tick();
    }
}

impl Fleet {
    /// All that is in the way, what comes first in the ranking first.
    pub(crate) fn hindrances(&self) -> impl Iterator<Item = Hindrance> {
        let LastTick { due, seed_secret, no_session } = &*self.last_tick.lock();
        // A login on demand can have shown since that it fits.
        let is_mismatch = *seed_secret && !self.seed_secret.has_fitted();
        let stopped = self.model.as_ref().ok().and_then(|claude| claude.stopped());
        let ranking = [
            self.shutdown.is_stopping().then_some(Hindrance::Stopping),
            self.model.as_ref().err().cloned().map(Hindrance::Unset),
            stopped.map(Hindrance::ModelStopped),
            self.journal.trouble().map(Hindrance::Journal),
            self.budget.exhausted().map(Hindrance::Budget),
            due.clone().map(Hindrance::Due),
            is_mismatch.then_some(Hindrance::SeedSecret),
            no_session.clone().map(Hindrance::NoSession),
            self.control.paused().map(Hindrance::Paused),
        ];
        ranking.into_iter().flatten()
    }

    /// What keeps runs from beginning. A probe is what finds out whether Claude is to be had again.
    pub(super) fn why_not_run(&self, admitted: Admitted) -> Option<WhyNotRun> {
        let is_asked =
            |why: &WhyNotRun| *why == WhyNotRun::ModelStopped && admitted == Admitted::Probe;
        self.hindrances().filter_map(|hindrance| hindrance.why_not_run()).find(|why| !is_asked(why))
    }

    /// Waits for a permit for a run. One that `begins` is then let in if nothing keeps it from that; one that
    /// is only closed costs nothing.
    pub(super) async fn admit(
        &self,
        begins: Option<Admitted>,
    ) -> Result<OwnedSemaphorePermit, WhyNotRun> {
        let permit = self.shutdown.unless_stopping(self.permits.clone().acquire_owned()).await;
        // The semaphore is never closed.
        let permit = permit.and_then(Result::ok).ok_or(WhyNotRun::RunnerDown)?;
        // Paused, out of money and the like since the list was made: nobody need log in.
        let why_not = begins.and_then(|admitted| self.why_not_run(admitted));
        why_not.map_or(Ok(permit), Err)
    }

    /// Whether anybody wants no ticks.
    pub(super) fn check_not_paused(&self) -> Result<(), Hindrance> {
        self.control.paused().map_or(Ok(()), |paused| Err(Hindrance::Paused(paused)))
    }

    /// Lets a tick begin, if the model may be used.
    pub(super) fn begin_tick(&self) -> Result<TickPermit<'_>, Hindrance> {
        let claude = self.model.as_deref().map_err(|unset| Hindrance::Unset(unset.clone()))?;
        let admitted = match claude.begin_tick() {
            claude::Admission::Open => Admitted::All,
            claude::Admission::Probe => Admitted::Probe,
            claude::Admission::Stopped(reason) => return Err(Hindrance::ModelStopped(reason)),
        };
        Ok(TickPermit { claude, admitted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        config::BudgetConfig,
        journal::{Journal, PauseMode},
    };

    #[test]
    fn each_hindrance_has_its_words_and_says_whether_it_is_trouble_and_keeps_runs_from_beginning() {
        use Hindrance::*;
        let text = || "why".to_owned();
        let unset = "MANA_SERVICE_KEY is not set; ticks are disabled";
        let both = "MANA_SERVICE_KEY and ANTHROPIC_API_KEY are not set; ticks are disabled";
        for (hindrance, words, is_trouble, why_not_run) in [
            (Stopping, "the daemon is stopping", false, Some(WhyNotRun::RunnerDown)),
            (Unset(vec!["MANA_SERVICE_KEY"]), unset, true, None),
            (Unset(vec!["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"]), both, true, None),
            (
                ModelStopped(text()),
                "the model is not used for now: why",
                true,
                Some(WhyNotRun::ModelStopped),
            ),
            (Journal(text()), "why", true, Some(WhyNotRun::Other)),
            (Budget(text()), "why", true, Some(WhyNotRun::Budget)),
            (Due(text()), "why", true, None),
            (SeedSecret, "every login was refused: PERSONA_SEED_SECRET does not match", true, None),
            (NoSession(text()), "why", true, None),
            (Paused(PausedBy::Environment), "RUNNER_PAUSED is set", false, Some(WhyNotRun::Paused)),
        ] {
            assert_eq!(hindrance.to_string(), words);
            assert_eq!(hindrance.is_trouble(), is_trouble, "{words}");
            assert_eq!(hindrance.why_not_run(), why_not_run, "{words}");
        }
    }

    #[tokio::test]
    async fn a_stop_comes_first_then_what_is_wrong_and_a_pause_last() {
        let (journal, clock) = (Journal::in_memory().await.unwrap(), Clock::system());
        let no_caps = BudgetConfig { daily: None, monthly: None, persona_daily: None };
        let (fleet, _) = Fleet::of_test(&journal, &clock, no_caps).await;
        *fleet.last_tick.lock() = LastTick {
            due: Some("nobody knows".into()),
            seed_secret: true,
            no_session: Some("no session".into()),
        };
        fleet.control.pause(PauseMode::Pause, None, "anna".into()).await.unwrap();
        fleet.shutdown.stop();
        let told: Vec<_> = fleet.hindrances().collect();
        assert!(
            matches!(
                told[..],
                [
                    Hindrance::Stopping,
                    Hindrance::Unset(_),
                    Hindrance::Due(_),
                    Hindrance::SeedSecret,
                    Hindrance::NoSession(_),
                    Hindrance::Paused(_)
                ]
            ),
            "{told:?}"
        );
        assert_eq!(fleet.why_not_run(Admitted::All), Some(WhyNotRun::RunnerDown));
    }
}
