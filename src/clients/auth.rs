//! The client of mana-auth for personas: login, personal space, fresh JWTs, encryption vault.
//!
//! Two kinds of deployment exist (docs/contracts/mana-auth.md). The running service lists spaces only for its
//! session cookie. A deployment as the seeds describe it accepts the JWT as a bearer token. The first login
//! finds out the kind, which is then logged once and remembered for the life of the process.

mod error;
mod refusals;
mod sign_in_gate;
mod wire;

use std::{collections::HashMap, time::Duration};

use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

pub use error::{AuthError, AuthRequest, Problem, Result};
use refusals::Outcome;
pub(crate) use refusals::{Refusals, RefusedTries};
use sign_in_gate::SignInGate;

use crate::{
    clock::Clock,
    config::BaseUrl,
    domain::{Redactor, derive_password, json_text},
    http::{
        Answer, Exchange, HttpClient, HttpError, Operation, Peer, RetryPolicy, Retryable, bearer,
        secret_header,
    },
};

const PEER: Peer = "mana-auth";
const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_LIMIT: usize = 1 << 20;
/// Longest wait while the login of another persona finds out the kind of the deployment.
const LONGEST_DISCOVERY: Duration = Duration::from_secs(5);

/// What a persona needs to use the product.
#[derive(Clone, Debug)]
pub struct Access {
    /// The account id in mana-auth's answer.
    pub user_id: String,
    /// Id of the personal space, the only space that a run may write to.
    pub space_id: String,
    /// A JWT issued for this run.
    pub jwt: SecretString,
    /// Removes all of the persona's secrets from texts: e-mail, password, session and JWT.
    pub redactor: Redactor,
}

/// How this deployment lists the spaces of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deployment {
    /// It lists spaces only for the signed session cookie, which also gives fresh JWTs.
    Cookie,
    /// It lists spaces for the JWT of a login, sent as a bearer token. A fresh JWT needs another login.
    Bearer,
}

/// A cookie session of an account. It is kept across ticks, in memory only.
#[derive(Clone, Debug)]
struct Session {
    user_id: String,
    cookie: SecretString,
}

/// Sends requests to mana-auth on behalf of personas.
#[derive(Debug)]
pub struct AuthClient {
    http: HttpClient,
    base: BaseUrl,
    seed_secret: SecretString,
    deployment: Mutex<Option<Deployment>>,
    /// The permit of the login that finds out the deployment. Other logins wait for its result.
    discovery: Semaphore,
    sessions: Mutex<HashMap<String, Session>>,
    gate: SignInGate,
    /// The refused login attempts that mana-auth still counts.
    pub refusals: Refusals,
}

impl AuthClient {
    /// A client of the service at `base`, for accounts seeded with `seed_secret`.
    pub fn new(http: HttpClient, base: BaseUrl, seed_secret: SecretString, clock: Clock) -> Self {
        let (deployment, sessions, gate) = Default::default();
        let (discovery, refusals) = (Semaphore::new(1), Refusals::new(clock));
        Self { http, base, seed_secret, deployment, discovery, sessions, gate, refusals }
    }

    /// Gives the persona with this e-mail access: with a kept session if there is one, else by one login. In
    /// the middle of a run, where the space is known, a kept session gives another JWT for that space.
    ///
    /// # Errors
    /// The request that failed, and why. Nothing is sent after `deadline`.
    pub async fn open(
        &self,
        email: &str,
        space_id: Option<&str>,
        deadline: Instant,
    ) -> Result<Access> {
        let account = self.account(email, deadline);
        let kept = self.sessions.lock().get(email).cloned();
        if let Some(session) = kept {
            match account.enter(session, space_id).await {
                Err(error) if error.is_unauthorized() => {}
                entered => return entered,
            }
        }
        account.log_in().await
    }

    /// Gives the persona with this e-mail access by a login, even if a session is kept. /diag/login uses this
    /// to show that logins work.
    ///
    /// # Errors
    /// The request that failed, and why. Nothing is sent after `deadline`.
    pub(crate) async fn log_in(&self, email: &str, deadline: Instant) -> Result<Access> {
        self.account(email, deadline).log_in().await
    }

    /// Creates the encryption vault of the persona with this e-mail and JWT. `redactor` knows the persona's
    /// secrets. The request is idempotent.
    ///
    /// # Errors
    /// The request that failed, and why. Nothing is sent after `deadline`.
    pub async fn init_vault(
        &self,
        email: &str,
        jwt: &SecretString,
        redactor: &Redactor,
        deadline: Instant,
    ) -> Result<()> {
        let http = self.http.with_redactor(redactor.clone());
        let account = Account { auth: self, http, email, deadline };
        account.call(AuthRequest::InitVault, bearer(jwt).into_iter().collect()).await.map(drop)
    }

    /// A redactor with all secrets of the persona with this e-mail that the process knows. The persona need
    /// not be logged in.
    pub(crate) fn redactor_of(&self, email: &str) -> Redactor {
        let redactor = self.account(email, Instant::now()).http.redactor;
        let kept = self.sessions.lock().get(email).map(|it| wire::spellings_of_cookie(&it.cookie));
        redactor.with(kept.unwrap_or_default())
    }

    fn account<'a>(&'a self, email: &'a str, deadline: Instant) -> Account<'a> {
        let secrets = [self.password_of(email), email.to_owned()];
        let http = self.http.with_redactor(self.http.redactor.with(secrets));
        Account { auth: self, http, email, deadline }
    }

    fn password_of(&self, email: &str) -> String {
        derive_password(self.seed_secret.expose_secret(), email)
    }

    /// Remembers the kind of the deployment, which lists spaces for `what`.
    fn remember_deployment(&self, found: Deployment, what: &str) {
        if self.deployment.lock().replace(found) != Some(found) {
            tracing::info!("mana-auth lists spaces for {what}; remembered for this process");
        }
    }
}

/// One persona's requests to mana-auth. `http` keeps the persona's secrets out of errors.
struct Account<'a> {
    auth: &'a AuthClient,
    http: HttpClient,
    email: &'a str,
    deadline: Instant,
}

impl Account<'_> {
    /// Logs in once, in the way that this deployment needs, and returns the access.
    async fn log_in(&self) -> Result<Access> {
        let known = || *self.auth.deployment.lock();
        let mut permit = None;
        if known().is_none() {
            // Until one login has found out the deployment, logins go one at a time. In an outage none finds
            // it out, so the wait has a bound.
            let longest = self.deadline.min(Instant::now() + LONGEST_DISCOVERY);
            permit = timeout_at(longest, self.auth.discovery.acquire()).await.ok();
        }
        let deployment = known();
        let _permit = permit.filter(|_| deployment.is_none());
        match deployment {
            Some(Deployment::Cookie) => self.log_in_for_cookie().await,
            _ => self.log_in_for_jwt().await,
        }
    }

    /// Logs in for a JWT and lists the spaces with it. If the list is refused with a 401, the deployment
    /// needs the session cookie.
    async fn log_in_for_jwt(&self) -> Result<Access> {
        let (login, _): (wire::Login, _) = self.ask(AuthRequest::Login, HeaderMap::new()).await?;
        let jwt =
            login.jwt().ok_or_else(|| AuthError::unreadable(AuthRequest::Login, "no JWT in it"))?;
        let jwt = sendable(AuthRequest::Login, "the JWT in it", jwt)?.into();
        let account = self.hiding(login.secrets());
        let spaces = match account.list_spaces(bearer(&jwt).into_iter().collect()).await {
            Err(error) if error.is_unauthorized() => return self.log_in_for_cookie().await,
            spaces => spaces?,
        };
        self.auth.remember_deployment(Deployment::Bearer, "the JWT as a bearer token");
        Ok(account.access(login.user.id, personal(&spaces)?, jwt))
    }

    /// Logs in for the session cookie, keeps the session, and gets space and JWT with it.
    async fn log_in_for_cookie(&self) -> Result<Access> {
        let (login, headers): (wire::Login, _) =
            self.ask(AuthRequest::SignIn, HeaderMap::new()).await?;
        let cookie = wire::session_cookie(&headers).ok_or_else(|| {
            AuthError::unreadable(AuthRequest::SignIn, "no session cookie with it")
        })?;
        let session = Session { user_id: login.user.id, cookie };
        self.auth.remember_deployment(Deployment::Cookie, "its session cookie");
        // The session is kept even if the next step fails, so that another run need not log in again.
        self.auth.sessions.lock().insert(self.email.to_owned(), session.clone());
        self.enter(session, None).await
    }

    /// Gets access with a cookie session and a fresh JWT. A session that mana-auth answers with 401 is no
    /// longer kept. If `space_id` is `None`, the personal space is looked up.
    async fn enter(&self, session: Session, space_id: Option<&str>) -> Result<Access> {
        let headers: HeaderMap = secret_header("cookie", &session.cookie).into_iter().collect();
        let account = self.hiding(wire::spellings_of_cookie(&session.cookie));
        let entering = async {
            let space_id = match space_id {
                Some(known) => known.to_owned(),
                None => personal(&account.list_spaces(headers.clone()).await?)?,
            };
            let (wire::Token { token }, _) = account.ask(AuthRequest::Token, headers).await?;
            let jwt = sendable(AuthRequest::Token, "the JWT in it", token)?.into();
            Ok(account.access(session.user_id, space_id, jwt))
        };
        entering.await.inspect_err(|error: &AuthError| {
            if error.is_unauthorized() {
                self.auth.sessions.lock().remove(self.email);
            }
        })
    }

    async fn list_spaces(&self, headers: HeaderMap) -> Result<Vec<Value>> {
        Ok(self.ask(AuthRequest::Spaces, headers).await?.0)
    }

    fn access(&self, user_id: String, space_id: String, jwt: SecretString) -> Access {
        let redactor = self.http.redactor.with([jwt.expose_secret()]);
        Access { user_id, space_id, jwt, redactor }
    }

    /// This account with further secrets kept out of errors.
    fn hiding(&self, secrets: Vec<String>) -> Self {
        Self { http: self.http.with_redactor(self.http.redactor.with(secrets)), ..*self }
    }

    /// Sends a request, and returns the parsed body of the answer and its headers.
    async fn ask<T: DeserializeOwned>(
        &self,
        step: AuthRequest,
        headers: HeaderMap,
    ) -> Result<(T, HeaderMap)> {
        let answer = self.call(step, headers).await?;
        // The parser's own message can quote the body, which contains tokens.
        let read = json_text::parse(&answer.body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            AuthError::unreadable(step, &format!("not the expected JSON at {place}"))
        })?;
        Ok((read, answer.headers))
    }

    /// Sends a request, with retries where they may help, and expects a 200.
    async fn call(&self, step: AuthRequest, headers: HeaderMap) -> Result<Answer> {
        let failed = |problem| AuthError { step, problem };
        let attempt = async || self.call_once(step, &headers).await.map_err(failed);
        let retried = self.http.retried(PEER, step.names().1);
        RetryPolicy::READ.run(self.deadline, retried, attempt).await
    }

    /// Sends a request once. A login first waits for the gate, and is not sent if it could lock the account.
    async fn call_once(&self, step: AuthRequest, headers: &HeaderMap) -> Result<Answer, Problem> {
        let mut counted = None;
        if step.is_sign_in() {
            self.auth.gate.pass(self.deadline).await?;
            let begun = self.auth.refusals.begin(self.email);
            counted = Some(begun.map_err(Problem::RefusedTooOften)?);
        }
        let name = step.names().1;
        let timeout = TIMEOUT.min(self.deadline.saturating_duration_since(Instant::now()));
        let operation = Operation { peer: PEER, name, timeout, body_limit: BODY_LIMIT };
        let answer = self.http.send(operation, self.request(step, headers.clone())).await;
        if let Some(mut counted) = counted {
            *counted = outcome_of(&answer);
        }
        let failed = |error: HttpError| Problem::Other(error.to_string(), error.again_after());
        let answer = answer.map_err(failed)?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let problem = Problem::of_answer(step, &answer, &self.http);
        if let Problem::RateLimited(wait) = problem {
            self.auth.gate.hold(wait);
        }
        Err(problem)
    }

    fn request(&self, step: AuthRequest, headers: HeaderMap) -> RequestBuilder {
        let url = self.auth.base.join(step.names().0.split('/')).as_url().clone();
        let http = &self.http.inner;
        let request = match step {
            AuthRequest::Spaces | AuthRequest::Token => http.get(url),
            AuthRequest::InitVault => http.post(url),
            AuthRequest::Login | AuthRequest::SignIn => {
                let password = self.auth.password_of(self.email);
                let body = json!({"email": self.email, "password": password}).to_string();
                http.post(url).header(header::CONTENT_TYPE, "application/json").body(body)
            }
        };
        request.headers(headers)
    }
}

/// How mana-auth counts a login that was answered like this.
fn outcome_of(answer: &Exchange<Answer>) -> Outcome {
    match answer.as_ref().map(|answer| answer.status.as_u16()) {
        Ok(200) => Outcome::LoggedIn,
        Ok(401) => Outcome::Refused,
        Ok(..500) => Outcome::NotCounted,
        Err(error) if error.was_not_sent() => Outcome::NotCounted,
        _ => Outcome::Unknown,
    }
}

/// Id of the first space whose metadata says that it is personal. No other space may be returned: mana-mcp
/// writes to every space that it is given.
fn personal(spaces: &[Value]) -> Result<String> {
    let space_id = spaces.iter().find_map(wire::personal_id).ok_or_else(|| {
        let all = format!("none of the account's {} spaces is of type personal", spaces.len());
        AuthError::at(AuthRequest::Spaces, format!("{all}; sign-up should have created one"))
    })?;
    sendable(AuthRequest::Spaces, "the id of the personal space", space_id.to_owned())
}

/// Returns `text` if it can be sent in a header.
fn sendable(step: AuthRequest, what: &str, text: String) -> Result<String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AuthError::unreadable(step, &format!("{what} does not fit in a header")));
    }
    Ok(text)
}
