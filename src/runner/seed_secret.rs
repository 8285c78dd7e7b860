//! Remembers whether PERSONA_SEED_SECRET has ever fitted. Once mana-auth has accepted a login with it, a
//! refused login is a fault of that persona's account, and not of the secret.

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

/// Time limit for a login on demand, retries included.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// Whether mana-auth has accepted a login with the secret, in this process or an earlier one.
#[derive(Debug)]
pub(crate) struct SeedSecret {
    journal: Journal,
    clock: Clock,
    auth: Arc<AuthClient>,
    /// Identifies the pair of secret and mana-auth URL without revealing the secret.
    fingerprint: String,
    has_fitted: AtomicBool,
    /// The personas whose refused login was logged today.
    logged: OnceADay,
}

impl SeedSecret {
    /// Loads from the journal whether the secret has fitted, and which logins were refused.
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
        // Derived like a password, but from a text that is no e-mail. 11 characters of base64 are 8 bytes.
        let mut fingerprint = derive_password(secret, &format!("fits {url}"));
        fingerprint.truncate(11);
        let fits = journal.kept(FITTING_SECRET).await?.is_some_and(|kept| kept == fingerprint);
        auth.refusals.restore(journal.kept(REFUSED_TRIES).await?.unwrap_or_default());
        let has_fitted = AtomicBool::new(fits);
        Ok(Self { journal, clock, auth, fingerprint, has_fitted, logged: OnceADay::default() })
    }

    /// Tests the login of a persona: derives its password, logs in and finds its personal space. This needs
    /// neither the service key nor Claude. Returns the ids of the account and of the personal space.
    ///
    /// # Errors
    /// The request that failed, and its problem.
    pub(crate) async fn check_login(&self, email: &str) -> Result<(String, String), AuthError> {
        let access = self.auth.log_in(email, Instant::now() + LOGIN_LIMIT).await;
        self.note(&access).await;
        access.map(|access| (access.user_id, access.space_id))
    }

    /// Whether mana-auth has accepted a login with the secret, in this process or an earlier one.
    pub(super) fn has_fitted(&self) -> bool {
        self.has_fitted.load(Ordering::Relaxed)
    }

    /// Evaluates the result of a login: writes to the journal that the secret fits, or which passwords were
    /// refused.
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

    /// Logs once a day that mana-auth refuses the login of this persona although the secret fits.
    pub(super) fn blame(&self, persona: &UserId) {
        if self.logged.is_first_today(persona.as_str(), self.clock.now()) {
            tracing::warn!(
                persona.id = %persona,
                "mana-auth refuses this persona's login, while PERSONA_SEED_SECRET opens other accounts: \
                 was the user deleted, or given another password?"
            );
        }
    }
}
