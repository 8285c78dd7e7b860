//! Decides whether ticks can do their work and whether runs may begin: all hindrances, in one ranking.

use tokio::sync::OwnedSemaphorePermit;

use super::{
    control::PausedBy,
    fleet::{Fleet, LastTick},
};
use crate::{
    clients::claude::{self, ClaudeClient},
    domain::WhyNotRun,
};

/// A condition that keeps ticks from doing their work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hindrance {
    /// A stop was requested.
    #[error("the daemon is stopping")]
    Stopping,
    /// These environment variables are not set, and there are no ticks without them.
    #[error("{} {} not set; ticks are disabled", .0.join(" and "),
        if .0.len() == 1 { "is" } else { "are" })]
    Unset(Vec<&'static str>),
    /// A condition that does not end by waiting forbids all model requests, for example a refused API key.
    #[error("the model is not used for now: {0}")]
    ModelStopped(String),
    /// The journal cannot be written to, so nothing may be paid for.
    #[error("{0}")]
    Journal(String),
    /// A budget cap of the fleet is reached.
    #[error("{0}")]
    Budget(String),
    /// The last tick could not fetch the due personas.
    #[error("{0}")]
    Due(String),
    /// All logins of the last tick were refused, and mana-auth has never accepted this secret.
    #[error("every login was refused: PERSONA_SEED_SECRET does not match")]
    SeedSecret,
    /// No run of the last tick could use mana-mcp.
    #[error("{0}")]
    NoSession(String),
    /// An operator has paused the runner.
    #[error("{}", match .0 {
        PausedBy::Environment => "RUNNER_PAUSED is set",
        PausedBy::Request(_) => "paused on request",
    })]
    Paused(PausedBy),
}

impl Hindrance {
    /// Whether the hindrance is a fault. A stop and a pause are intended and are no faults.
    pub(crate) fn is_trouble(&self) -> bool {
        !matches!(self, Self::Stopping | Self::Paused(_))
    }

    /// The reason for which a due persona does not run; `None` if the hindrance does not keep runs from
    /// beginning.
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

/// How many runs may begin: the number is the discriminant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Admitted {
    /// There is no limit on the number of runs.
    All = u32::MAX,
    /// One run may begin, to find out whether Claude accepts requests again.
    Probe = 1,
}

/// The permission for a tick. Dropping it tells the Claude client that the tick is over.
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

/// The hindrances that were found, at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub stopping: Option<Hindrance>,
    pub unset: Option<Hindrance>,
    pub model_stopped: Option<Hindrance>,
    pub journal: Option<Hindrance>,
    pub budget: Option<Hindrance>,
    pub due: Option<Hindrance>,
    pub seed_secret: Option<Hindrance>,
    pub no_session: Option<Hindrance>,
    pub paused: Option<Hindrance>,
}

impl Found {
    /// The hindrances, the most important one first.
    pub(super) fn ranked(self) -> impl Iterator<Item = Hindrance> {
        let Self { stopping, unset, model_stopped, journal, budget, due, .. } = self;
        let Self { seed_secret, no_session, paused, .. } = self;
        let ranking =
            [stopping, unset, model_stopped, journal, budget, due, seed_secret, no_session, paused];
        ranking.into_iter().flatten()
    }
}

impl Fleet {
    /// All current hindrances, the most important one first.
    pub(crate) fn hindrances(&self) -> impl Iterator<Item = Hindrance> {
        let LastTick { due, seed_secret, no_session } = &*self.last_tick.lock();
        // A login on demand may have shown since the last tick that the secret fits.
        let is_mismatch = *seed_secret && !self.seed_secret.has_fitted();
        let stopped = self.model.as_ref().ok().and_then(|claude| claude.stopped());
        let found = Found {
            stopping: self.shutdown.is_stopping().then_some(Hindrance::Stopping),
            unset: self.model.as_ref().err().cloned().map(Hindrance::Unset),
            model_stopped: stopped.map(Hindrance::ModelStopped),
            journal: self.journal.trouble().map(Hindrance::Journal),
            budget: self.budget.exhausted().map(Hindrance::Budget),
            due: due.clone().map(Hindrance::Due),
            seed_secret: is_mismatch.then_some(Hindrance::SeedSecret),
            no_session: no_session.clone().map(Hindrance::NoSession),
            paused: self.control.paused().map(Hindrance::Paused),
        };
        found.ranked()
    }

    /// Why no run may begin, if so. A stopped model does not keep a probe from beginning, because the probe
    /// tests exactly that.
    pub(super) fn why_not_run(&self, admitted: Admitted) -> Option<WhyNotRun> {
        let probed =
            |why: &WhyNotRun| *why == WhyNotRun::ModelStopped && admitted == Admitted::Probe;
        self.hindrances().filter_map(|hindrance| hindrance.why_not_run()).find(|why| !probed(why))
    }

    /// Waits for one of the PERSONA_CONCURRENCY permits. `begins` is `None` for a run that is only closed:
    /// closing costs nothing and is always admitted.
    ///
    /// # Errors
    /// The reason why the run may not begin, checked after the wait.
    pub(super) async fn admit(
        &self,
        begins: Option<Admitted>,
    ) -> Result<OwnedSemaphorePermit, WhyNotRun> {
        let permit = self.shutdown.unless_stopping(self.permits.clone().acquire_owned()).await;
        // The semaphore is never closed.
        let permit = permit.and_then(Result::ok).ok_or(WhyNotRun::RunnerDown)?;
        // The runner may have been paused, or a cap reached, since the list of runs was made.
        let why_not = begins.and_then(|admitted| self.why_not_run(admitted));
        why_not.map_or(Ok(permit), Err)
    }
}

impl<'a> TickPermit<'a> {
    /// Lets a tick begin.
    ///
    /// # Errors
    /// When the model is stopped.
    pub(super) fn new(claude: &'a ClaudeClient) -> Result<Self, Hindrance> {
        let admitted = match claude.begin_tick() {
            claude::Admission::Open => Admitted::All,
            claude::Admission::Probe => Admitted::Probe,
            claude::Admission::Stopped(reason) => return Err(Hindrance::ModelStopped(reason)),
        };
        Ok(Self { claude, admitted })
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
