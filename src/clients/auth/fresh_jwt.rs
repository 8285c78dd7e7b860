//! A JWT in place of one that is no longer accepted, in the middle of a run.

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{Account, AuthClient, AuthError, cookie_header, wire};
use crate::domain::Redactor;

/// A JWT and what came with it.
#[derive(Clone, Debug)]
pub struct FreshJwt {
    /// The JWT.
    pub jwt: SecretString,
    /// Keeps it, and whatever a login for it brought up, out of what is said.
    pub redactor: Redactor,
}

impl AuthClient {
    /// Another JWT for the persona with this e-mail: of its kept session where there is one, else by
    /// a login, once.
    ///
    /// # Errors
    /// What failed at which step; nothing is tried after `deadline`.
    pub async fn fresh_jwt(&self, email: &str, deadline: Instant) -> Result<FreshJwt, AuthError> {
        let account = self.account(email, deadline);
        if let Some(fresh) = account.jwt_of_kept_session().await? {
            return Ok(fresh);
        }
        let access = account.log_in().await?;
        Ok(FreshJwt { jwt: access.jwt, redactor: access.redactor })
    }
}

impl Account<'_> {
    /// A JWT of the kept session; `None` if there is none or it is no longer accepted.
    async fn jwt_of_kept_session(&self) -> Result<Option<FreshJwt>, AuthError> {
        let Some(session) = self.auth.sessions().get(self.email).cloned() else { return Ok(None) };
        let account = self.hiding(wire::spellings_of_cookie(&session.cookie));
        match account.fetch_jwt(&cookie_header(&session.cookie)).await {
            Ok(jwt) => {
                let redactor = account.http.redactor().with([jwt.expose_secret()]);
                Ok(Some(FreshJwt { jwt, redactor }))
            }
            Err(error) if error.is_unauthorized() => {
                self.auth.sessions().remove(self.email);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
