//! mana-auth as a persona sees it: logging in, finding the personal space, a fresh JWT, the vault.
//!
//! Two kinds of deployment exist (contracts/mana-auth.md): the running service lists spaces only for
//! its session cookie; one as the seeds describe it accepts the JWT as a bearer token. Which one this
//! is, the first login finds out; it is logged once and remembered for the process.

mod error;
mod fresh_jwt;
mod refusals;
mod sign_in_gate;
mod wire;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

pub use error::{AuthError, Step};
pub use fresh_jwt::FreshJwt;
pub use refusals::RefusedTries;
use refusals::{Came, Refusals};
use sign_in_gate::SignInGate;

use crate::{
    clock::Clock,
    config::BaseUrl,
    domain::{Redactor, derive_password, json_text},
    http::{Answer, HttpClient, HttpError, Operation, Peer, retry::RetryPolicy, secret_header},
};

const PEER: Peer = Peer("mana-auth");
const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_LIMIT: usize = 1 << 20;
/// Longest wait for another persona to find out how the deployment wants to be asked.
const FINDING_OUT: Duration = Duration::from_secs(5);

/// What a persona needs to use the product.
#[derive(Clone, Debug)]
pub struct Access {
    /// Account id mana-auth answered with.
    pub user_id: String,
    /// The personal space; the only one a run may write to.
    pub space_id: String,
    /// A JWT issued for this run.
    pub jwt: SecretString,
    /// Keeps all of the persona's secrets out of what is said: e-mail, password, session and JWT.
    pub redactor: Redactor,
}

/// How this deployment wants to be asked for spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deployment {
    /// Only the signed session cookie lists spaces; it also gives fresh JWTs.
    Cookie,
    /// The JWT of a login lists spaces as a bearer token; a fresh JWT is a login.
    Bearer,
}

/// A cookie session, kept across ticks in memory only.
#[derive(Clone, Debug)]
struct Session {
    user_id: String,
    cookie: SecretString,
}

/// Talks to mana-auth on behalf of personas.
#[derive(Debug)]
pub struct AuthClient {
    http: HttpClient,
    base: BaseUrl,
    seed_secret: SecretString,
    deployment: Mutex<Option<Deployment>>,
    /// Held by whoever finds out the deployment first, so that the others need not.
    finding_out: Semaphore,
    sessions: Mutex<HashMap<String, Session>>,
    gate: SignInGate,
    refusals: Refusals,
}

impl AuthClient {
    /// A client of the service at `base`, for accounts seeded with `seed_secret`.
    pub fn new(http: HttpClient, base: BaseUrl, seed_secret: SecretString, clock: Clock) -> Self {
        Self {
            http,
            base,
            seed_secret,
            deployment: Mutex::default(),
            finding_out: Semaphore::new(1),
            sessions: Mutex::default(),
            gate: SignInGate::default(),
            refusals: Refusals::new(clock),
        }
    }

    /// The tries that mana-auth has refused and counts still.
    pub fn refused_tries(&self) -> RefusedTries {
        self.refusals.refused()
    }

    /// Counts those of an earlier process too.
    pub fn restore_refused_tries(&self, tries: RefusedTries) {
        self.refusals.restore(tries);
    }

    /// Access for the persona with this e-mail: with a kept session where there is one, else by
    /// logging in, once.
    ///
    /// # Errors
    /// What failed at which step; nothing is tried after `deadline`.
    pub async fn open(&self, email: &str, deadline: Instant) -> Result<Access, AuthError> {
        let account = self.account(email, deadline);
        if let Some(access) = account.resume().await? {
            return Ok(access);
        }
        account.log_in().await
    }

    /// Access by a login of its own, whatever is kept: what /diag/login proves.
    ///
    /// # Errors
    /// What failed at which step; nothing is tried after `deadline`.
    pub async fn log_in(&self, email: &str, deadline: Instant) -> Result<Access, AuthError> {
        self.account(email, deadline).log_in().await
    }

    /// Creates the encryption vault of the persona this JWT belongs to, whose secrets `redactor` knows.
    /// Idempotent.
    ///
    /// # Errors
    /// What failed; nothing is tried after `deadline`.
    pub async fn init_vault(
        &self,
        jwt: &SecretString,
        redactor: &Redactor,
        deadline: Instant,
    ) -> Result<(), AuthError> {
        let account = Account {
            auth: self,
            http: self.http.with_redactor(redactor.clone()),
            email: "",
            password: String::new(),
            deadline,
        };
        let url = self.base.join(["api", "v1", "me", "encryption-vault", "init"]);
        account
            .call(Step::InitVault, || {
                self.http.inner().post(url.as_url().clone()).headers(bearer(jwt))
            })
            .await
            .map(drop)
    }

    /// Keeps all secrets of the persona with this e-mail that this process knows out of what is said, with
    /// or without a login.
    pub fn redactor_of(&self, email: &str) -> Redactor {
        let redactor = self.account(email, Instant::now()).http.redactor().clone();
        match self.sessions().get(email) {
            Some(session) => redactor.with(wire::spellings_of_cookie(&session.cookie)),
            None => redactor,
        }
    }

    fn account<'a>(&'a self, email: &'a str, deadline: Instant) -> Account<'a> {
        let password = derive_password(self.seed_secret.expose_secret(), email);
        let http = self.http.redacting([password.as_str(), email]);
        Account { auth: self, http, email, password, deadline }
    }

    fn known_deployment(&self) -> Option<Deployment> {
        *self.deployment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_deployment(&self, found: Deployment) {
        let mut known = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == Some(found) {
            return;
        }
        *known = Some(found);
        let how = match found {
            Deployment::Cookie => "its session cookie",
            Deployment::Bearer => "the JWT as a bearer token",
        };
        tracing::info!("mana-auth lists spaces for {how}; remembered for this process");
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One persona's dealings with mana-auth, with its own secrets kept out of errors.
struct Account<'a> {
    auth: &'a AuthClient,
    http: HttpClient,
    email: &'a str,
    password: String,
    deadline: Instant,
}

impl Account<'_> {
    /// Access through a kept session; `None` if there is none or it is no longer accepted.
    async fn resume(&self) -> Result<Option<Access>, AuthError> {
        let Some(session) = self.auth.sessions().get(self.email).cloned() else { return Ok(None) };
        match self.enter(session).await {
            Ok(access) => Ok(Some(access)),
            Err(error) if error.is_unauthorized() => {
                self.auth.sessions().remove(self.email);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Access by one login, in the way this deployment wants it.
    async fn log_in(&self) -> Result<Access, AuthError> {
        match self.auth.known_deployment() {
            Some(Deployment::Cookie) => self.log_in_for_cookie().await,
            Some(Deployment::Bearer) => self.log_in_for_jwt().await,
            None => {
                // One at a time until one has found out; in an outage nobody does, and the wait ends.
                let turn = timeout(FINDING_OUT, self.auth.finding_out.acquire()).await;
                let known = self.auth.known_deployment();
                if known.is_some() {
                    drop(turn);
                }
                match known {
                    Some(Deployment::Cookie) => self.log_in_for_cookie().await,
                    _ => self.log_in_for_jwt().await,
                }
            }
        }
    }

    /// Logs in for a JWT and lists the spaces with it. Where that is refused, the deployment is one
    /// that wants the cookie.
    async fn log_in_for_jwt(&self) -> Result<Access, AuthError> {
        let answer = self.sign_in(Step::Login, &["api", "v1", "auth", "login"]).await?;
        let login: wire::Login = self.read(Step::Login, &answer)?;
        let jwt = login.jwt().ok_or_else(|| AuthError::unreadable(Step::Login, "no JWT in it"))?;
        let jwt = usable(Step::Login, jwt)?;
        let account = self.hiding(login.secrets());
        match account.personal_space(&bearer(&jwt)).await {
            Ok(space_id) => {
                self.auth.remember_deployment(Deployment::Bearer);
                Ok(account.access(login.user.id, space_id, jwt))
            }
            Err(error) if error.is_unauthorized() => self.log_in_for_cookie().await,
            Err(error) => {
                if matches!(error, AuthError::NoPersonalSpace { .. }) {
                    self.auth.remember_deployment(Deployment::Bearer);
                }
                Err(error)
            }
        }
    }

    /// Logs in for the session cookie, keeps it, and gets space and JWT with it.
    async fn log_in_for_cookie(&self) -> Result<Access, AuthError> {
        let answer = self.sign_in(Step::SignIn, &["api", "auth", "sign-in", "email"]).await?;
        let login: wire::SignIn = self.read(Step::SignIn, &answer)?;
        let cookie = wire::session_cookie(&answer.headers)
            .ok_or_else(|| AuthError::unreadable(Step::SignIn, "no session cookie with it"))?;
        let session = Session { user_id: login.user.id, cookie };
        self.auth.remember_deployment(Deployment::Cookie);
        // Kept whatever comes next: another run need not log in again.
        self.auth.sessions().insert(self.email.to_owned(), session.clone());
        self.enter(session).await.inspect_err(|error| {
            if error.is_unauthorized() {
                self.auth.sessions().remove(self.email);
            }
        })
    }

    /// Space and fresh JWT of a cookie session.
    async fn enter(&self, session: Session) -> Result<Access, AuthError> {
        let headers = cookie_header(&session.cookie);
        let account = self.hiding(wire::spellings_of_cookie(&session.cookie));
        let space_id = account.personal_space(&headers).await?;
        let jwt = account.fetch_jwt(&headers).await?;
        Ok(account.access(session.user_id, space_id, jwt))
    }

    /// A JWT of the cookie session these headers name.
    async fn fetch_jwt(&self, headers: &HeaderMap) -> Result<SecretString, AuthError> {
        let url = self.auth.base.join(["api", "auth", "token"]);
        let answer = self
            .call(Step::Token, || {
                self.http.inner().get(url.as_url().clone()).headers(headers.clone())
            })
            .await?;
        let token: wire::Token = self.read(Step::Token, &answer)?;
        usable(Step::Token, token.token)
    }

    /// The first space whose metadata says it is personal. Never another one: mana-mcp writes to
    /// whatever space it is given.
    async fn personal_space(&self, headers: &HeaderMap) -> Result<String, AuthError> {
        let url = self.auth.base.join(["api", "auth", "organization", "list"]);
        let answer = self
            .call(Step::Spaces, || {
                self.http.inner().get(url.as_url().clone()).headers(headers.clone())
            })
            .await?;
        let spaces: Vec<serde_json::Value> = self.read(Step::Spaces, &answer)?;
        let listed = spaces.len();
        let personal = spaces.into_iter().find_map(wire::Space::read_personal);
        let space = personal.ok_or(AuthError::NoPersonalSpace { listed })?;
        if space.id.is_empty() || !space.id.bytes().all(|b| b.is_ascii_graphic()) {
            let why = "the id of the personal space does not fit in a header";
            return Err(AuthError::unreadable(Step::Spaces, why));
        }
        Ok(space.id)
    }

    fn access(&self, user_id: String, space_id: String, jwt: SecretString) -> Access {
        let redactor = self.http.redactor().with([jwt.expose_secret()]);
        Access { user_id, space_id, jwt, redactor }
    }

    /// The same with further secrets kept out of errors.
    fn hiding(&self, secrets: Vec<String>) -> Self {
        Self { http: self.http.redacting(secrets), password: self.password.clone(), ..*self }
    }

    /// Posts e-mail and password, when the gate lets it.
    async fn sign_in(&self, step: Step, path: &[&str]) -> Result<Answer, AuthError> {
        let url = self.auth.base.join(path.iter().copied());
        let body = wire::Credentials { email: self.email, password: &self.password };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        self.call(step, || {
            self.http
                .inner()
                .post(url.as_url().clone())
                .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body.clone())
        })
        .await
    }

    /// Sends a request, again where that may help, and expects a 200.
    async fn call(
        &self,
        step: Step,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, AuthError> {
        let operation =
            Operation { peer: PEER, name: step.as_str(), timeout: TIMEOUT, body_limit: BODY_LIMIT };
        let attempt = || async {
            if step.is_sign_in() {
                let passed = self.auth.gate.pass(self.deadline).await;
                passed.map_err(|wait| AuthError::TooLate { step, wait })?;
            }
            let counted = step.is_sign_in().then(|| self.auth.refusals.begin(self.email));
            let counted = counted.transpose();
            let counted = counted.map_err(|until| AuthError::RefusedTooOften { step, until })?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            let operation = Operation { timeout: operation.timeout.min(left), ..operation };
            let answer = self.http.send(operation, request()).await;
            if let Some(counted) = counted {
                counted.came(came_of(&answer));
            }
            let answer = answer.map_err(|source| AuthError::Http { step, source })?;
            if answer.status == StatusCode::OK {
                return Ok(answer);
            }
            let error = AuthError::from_answer(step, &answer, &self.http);
            if let AuthError::RateLimited { retry_after, .. } = &error {
                self.auth.gate.hold(*retry_after);
            }
            Err(error)
        };
        let on_retry = self.http.retried(PEER, step.as_str());
        RetryPolicy::READ.run(self.deadline, on_retry, attempt).await
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        step: Step,
        answer: &Answer,
    ) -> Result<T, AuthError> {
        // serde's own message can quote the body, which holds tokens.
        json_text::parse(&answer.body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            AuthError::unreadable(step, &format!("not the expected JSON at {place}"))
        })
    }
}

/// What mana-auth counts a login as.
fn came_of(answer: &Result<Answer, HttpError>) -> Came {
    match answer {
        Ok(answer) if answer.status == StatusCode::OK => Came::In,
        Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => Came::Refused,
        Ok(answer) if answer.status.is_server_error() => Came::Unknown,
        Ok(_) | Err(HttpError::Unreachable { .. } | HttpError::Unsendable { .. }) => {
            Came::NotCounted
        }
        Err(_) => Came::Unknown,
    }
}

/// A JWT that can be sent.
fn usable(step: Step, jwt: SecretString) -> Result<SecretString, AuthError> {
    let text = jwt.expose_secret();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AuthError::unreadable(step, "the JWT in it does not fit in a header"));
    }
    Ok(jwt)
}

fn bearer(jwt: &SecretString) -> HeaderMap {
    let value = SecretString::from(format!("Bearer {}", jwt.expose_secret()));
    secret_header("authorization", &value).into_iter().collect()
}

fn cookie_header(cookie: &SecretString) -> HeaderMap {
    secret_header("cookie", cookie).into_iter().collect()
}
