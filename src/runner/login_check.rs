//! The login of one persona on demand: what /diag/login shows.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::seed_secret::SeedSecret;
use crate::clients::auth::{AuthClient, AuthError};

/// For all of it, retries included.
const LIMIT: Duration = Duration::from_secs(60);

/// Logs personas in to see whether it works. Needs neither service key nor Claude.
#[derive(Clone, Debug)]
pub struct LoginCheck {
    auth: Arc<AuthClient>,
    seed_secret: Arc<SeedSecret>,
}

/// A login that worked.
#[derive(Clone, Debug)]
pub struct LoginDiagnosis {
    /// Account id.
    pub user_id: String,
    /// Personal space.
    pub space_id: String,
}

impl LoginCheck {
    /// Checks logins with this client.
    pub fn new(auth: Arc<AuthClient>, seed_secret: Arc<SeedSecret>) -> Self {
        Self { auth, seed_secret }
    }

    /// Derives the password, logs in and finds the personal space.
    ///
    /// # Errors
    /// Which step failed, and how.
    pub async fn run(&self, email: &str) -> Result<LoginDiagnosis, AuthError> {
        let access = self.auth.log_in(email, Instant::now() + LIMIT).await;
        self.seed_secret.note(&access).await;
        let access = access?;
        Ok(LoginDiagnosis { user_id: access.user_id, space_id: access.space_id })
    }
}
