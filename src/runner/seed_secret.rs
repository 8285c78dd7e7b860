//! What is known of PERSONA_SEED_SECRET: once it has opened an account, a refusal is the trouble of the
//! persona that is refused, and not of all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::once_a_day::OnceADay;
use crate::{
    clients::auth::{AuthClient, AuthError, Problem},
    clock::Clock,
    config::Config,
    domain::{UserId, derive_password},
    journal::{FITTING_SECRET, Journal, JournalError, REFUSED_TRIES},
};

/// For a login on demand, retries included.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// Remembers whether the secret fits, and how often it did not.
#[derive(Debug)]
pub(crate) struct SeedSecret {
    journal: Journal,
    clock: Clock,
    auth: Arc<AuthClient>,
    /// Tells this secret, at this mana-auth, from another one, and does not give it away.
    fingerprint: String,
    has_fitted: AtomicBool,
    /// Whose refusals.
    told: OnceADay,
}

impl SeedSecret {
    /// As an earlier process has left it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn load(
        journal: Journal,
        clock: Clock,
        auth: Arc<AuthClient>,
        config: &Config,
    ) -> Result<Self, JournalError> {
        let (secret, url) = (config.seed_secret.expose_secret(), &config.peers.auth);
        // Made like a password, but of what is no e-mail; 11 of 64 letters are 8 bytes.
        let mut fingerprint = derive_password(secret, &format!("fits {url}"));
        fingerprint.truncate(11);
        let fits = journal.kept(FITTING_SECRET).await?.is_some_and(|kept| kept == fingerprint);
        auth.refusals.restore(journal.kept(REFUSED_TRIES).await?.unwrap_or_default());
        let has_fitted = AtomicBool::new(fits);
        Ok(Self { journal, clock, auth, fingerprint, has_fitted, told: OnceADay::default() })
    }

    /// Derives the password of a persona, logs in and finds the personal space, to see whether it works. Needs
    /// neither service key nor Claude. Returns the ids of the account and of its personal space.
    ///
    /// # Errors
    /// Which step failed, and how.
    pub(crate) async fn check_login(&self, email: &str) -> Result<(String, String), AuthError> {
        let access = self.auth.log_in(email, Instant::now() + LOGIN_LIMIT).await;
        self.note(&access).await;
        access.map(|access| (access.user_id, access.space_id))
    }

    /// Whether it has opened an account, in this process or an earlier one.
    pub(super) fn has_fitted(&self) -> bool {
        self.has_fitted.load(Ordering::Relaxed)
    }

    /// Takes in what came of a login, and writes down what the next process has to know of it.
    pub(super) async fn note<T>(&self, login: &Result<T, AuthError>) {
        let now = self.clock.now();
        let written = match login {
            Ok(_) if !self.has_fitted.swap(true, Ordering::Relaxed) => {
                self.journal.keep(FITTING_SECRET, Some(&self.fingerprint), now).await
            }
            Err(AuthError { problem: Problem::InvalidCredentials, .. }) => {
                self.journal.keep(REFUSED_TRIES, Some(&self.auth.refusals.refused()), now).await
            }
            _ => Ok(()),
        };
        if let Err(error) = written {
            tracing::warn!("{error}; a restart will not know what came of a login");
        }
    }

    /// Tells, once a day, that it is this persona that cannot log in.
    pub(super) fn blame(&self, persona: &UserId) {
        if !self.told.is_news(persona.as_str(), self.clock.now()) {
            return;
        }
        tracing::warn!(
            persona.id = %persona,
            "mana-auth refuses this persona's login, while PERSONA_SEED_SECRET opens other accounts: was \
             the user deleted, or given another password?"
        );
    }
}
