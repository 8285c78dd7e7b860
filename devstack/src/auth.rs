//! mana-auth as docs/contracts/mana-auth.md recorded it: people log in, services read who is due and
//! hand in what the personas did.
//!
//! Everything that lasts is in SQLite under the schema `auth`, with the product's table and column
//! names, so that a statement from the product's documents runs unchanged on
//! [`ManaAuth::database`].

mod batch;
mod guard;
mod newer;
mod password;
mod refusal;
mod rows;
mod service_path;
mod session;
mod store;
mod user_path;
mod vault;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::error::Unspecified;
use axum::Router;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use tokio::sync::MutexGuard;

use crate::{clock::Clock, jwt::Keys, wire::Served};

use self::{guard::Guard, session::SessionCookie, store::Store};
pub use self::{
    newer::NewerOptions,
    rows::{ActionRow, FeedbackRow, PersonaRow},
    store::Logins,
    vault::Vaults,
};

/// Which of the two services that go by this name answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deployment {
    /// As the running service was recorded: the JWT comes as `accessToken`, and organization/list
    /// wants the signed session cookie.
    #[default]
    Running,
    /// As the seeds imagine it: the JWT comes as `token` and is accepted as Bearer by
    /// organization/list and token; there is no sign-in/email.
    Seeds,
}

/// How a mana-auth behaves.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Which service it is.
    pub deployment: Deployment,
    /// What the service path wants as `X-Service-Key`.
    pub service_key: String,
    /// The session cookie as a service whose own base URL is https sets it.
    pub https_cookie: bool,
    /// 3 sign-ins per 10 s per X-Forwarded-For value; requests without that header count together.
    pub rate_limit: bool,
    /// Metadata of the seeded spaces arrives as a JSON string instead of an object.
    pub metadata_as_string: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            deployment: Deployment::default(),
            service_key: "devstack-service-key".into(),
            https_cookie: false,
            rate_limit: false,
            metadata_as_string: false,
        }
    }
}

/// A persona to create: its user, its personal space and its persona row.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedPersona {
    /// Name of the user, and of the personal space.
    pub name: String,
    /// E-mail to log in with.
    pub email: String,
    /// Kind of person.
    pub archetype: String,
    /// System prompt.
    pub system_prompt: String,
    /// Weight of each module.
    pub module_mix: Map<String, Value>,
    /// `hourly`, `daily` or `weekdays`.
    #[serde(rename = "tickCadence")]
    pub cadence: String,
}

/// What one answer of /due said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its `serverTime`.
    pub server_time: Timestamp,
    /// User ids of those it listed, without rows that tests put there.
    pub users: Vec<String>,
}

/// A batch of actions that was taken, its rows new or there already: either way the persona counts as
/// active from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub user: String,
    /// The tick id of its first row.
    pub tick_id: String,
}

/// Why mana-auth did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port could be bound.
    #[error("listening failed")]
    Listen(#[from] io::Error),
    /// The database could not be set up.
    #[error("setting up the database failed")]
    Database(#[from] sqlx::Error),
    /// The system gave no randomness.
    #[error("no randomness for the cookie key")]
    Randomness(#[from] Unspecified),
}

/// Why a persona could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database refused a row; an e-mail exists only once.
    #[error("writing the persona failed")]
    Database(#[from] sqlx::Error),
    /// The system gave no randomness.
    #[error("no randomness for ids and salts")]
    Randomness(#[from] Unspecified),
}

/// What the handlers share.
struct Auth {
    options: AuthOptions,
    clock: Clock,
    keys: Keys,
    store: Store,
    guard: Guard,
    cookie: SessionCookie,
    vaults: Vaults,
    /// Rows that tests put into the answer of /due as they are.
    raw_due_rows: Mutex<Vec<Value>>,
    /// Every answer of /due.
    listings: Mutex<Vec<Listing>>,
    /// Every batch of actions that was taken.
    deliveries: Mutex<Vec<Delivery>>,
    /// Base URL, the issuer of the JWTs; known once the socket is bound.
    url: OnceLock<String>,
    /// Whether another service has the personas: deleting a user leaves them there.
    personas_are_elsewhere: AtomicBool,
}

impl Auth {
    fn issuer(&self) -> &str {
        self.url.get().map_or("", String::as_str)
    }
}

/// A running mana-auth.
pub struct ManaAuth {
    /// Its socket: recorded requests and faults.
    pub served: Served,
    auth: Arc<Auth>,
}

impl fmt::Debug for ManaAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManaAuth").field("served", &self.served).finish_non_exhaustive()
    }
}

impl ManaAuth {
    /// Starts one without users. JWTs are signed with `keys`, and every date comes from `clock`.
    ///
    /// # Errors
    /// When there is no port, no database or no randomness.
    pub async fn start(options: AuthOptions, clock: Clock, keys: Keys) -> Result<Self, StartError> {
        let auth = Arc::new(Auth {
            cookie: SessionCookie::generate(options.https_cookie)?,
            options,
            clock,
            keys,
            store: Store::open().await?,
            guard: Guard::default(),
            vaults: Vaults::default(),
            raw_due_rows: Mutex::default(),
            listings: Mutex::default(),
            deliveries: Mutex::default(),
            url: OnceLock::new(),
            personas_are_elsewhere: AtomicBool::default(),
        });
        let router = Router::new()
            .merge(user_path::router(auth.clone()))
            .nest("/api/v1/internal/personas", service_path::router(auth.clone()));
        let served = Served::start(refusal::with_not_found(router)).await?;
        auth.url.get_or_init(|| served.url.clone());
        Ok(Self { served, auth })
    }

    /// Serves the three internal endpoints on a socket of their own under
    /// `/api/v1/personas/internal`, as the service of later versions of the product does. From then on
    /// deleting a user leaves its persona, which stays due there.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn serve_personas_elsewhere(&self, options: NewerOptions) -> io::Result<Served> {
        self.auth.personas_are_elsewhere.store(true, Ordering::SeqCst);
        Served::start(newer::router(self.auth.clone(), options)).await
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.served.url
    }

    /// Creates these personas and returns their user ids in the same order. `password_of` gives
    /// the password of an e-mail. All are created or none.
    ///
    /// # Errors
    /// When an e-mail is taken.
    pub async fn seed(
        &self,
        personas: &[SeedPersona],
        password_of: impl Fn(&str) -> String,
    ) -> Result<Vec<String>, SeedError> {
        let mut users = Vec::with_capacity(personas.len());
        for persona in personas {
            users.push(self.new_user(persona, &password_of)?);
        }
        self.insert(users).await
    }

    /// As [`Self::seed`], with the user ids that another mana-auth gave these personas.
    ///
    /// # Errors
    /// As [`Self::seed`], and when an id is taken.
    pub async fn seed_as(
        &self,
        personas: &[(&str, SeedPersona)],
        password_of: impl Fn(&str) -> String,
    ) -> Result<Vec<String>, SeedError> {
        let mut users = Vec::with_capacity(personas.len());
        for (id, persona) in personas {
            let mut user = self.new_user(persona, &password_of)?;
            user.id = (*id).to_owned();
            users.push(user);
        }
        self.insert(users).await
    }

    fn new_user<'a>(
        &self,
        persona: &'a SeedPersona,
        password_of: impl Fn(&str) -> String,
    ) -> Result<store::NewUser<'a>, SeedError> {
        let (as_string, now) = (self.auth.options.metadata_as_string, self.auth.clock.now());
        Ok(store::NewUser::new(persona, &password_of(&persona.email), as_string, now)?)
    }

    async fn insert(&self, users: Vec<store::NewUser<'_>>) -> Result<Vec<String>, SeedError> {
        self.auth.store.insert(&users, self.auth.clock.now()).await?;
        Ok(users.into_iter().map(|user| user.id).collect())
    }

    /// All persona rows, oldest first.
    ///
    /// # Panics
    /// Like all that reads back here: when the database fails, which no test should take for
    /// "no rows".
    pub async fn personas(&self) -> Vec<PersonaRow> {
        readable(self.auth.store.personas().await)
    }

    /// All audit rows, oldest first.
    pub async fn actions(&self) -> Vec<ActionRow> {
        readable(self.auth.store.actions().await)
    }

    /// All ratings, oldest first.
    pub async fn feedback(&self) -> Vec<FeedbackRow> {
        readable(self.auth.store.feedback().await)
    }

    /// How often this e-mail has logged in.
    pub async fn logins(&self, email: &str) -> Logins {
        readable(self.auth.store.logins(Some(email)).await)
    }

    /// How many sessions exist, the expired ones included: each successful login adds one.
    pub async fn sessions_created(&self) -> usize {
        let Logins { login, sign_in_email } = readable(self.auth.store.logins(None).await);
        login + sign_in_email
    }

    /// Who has an encryption vault. The handle is shared: mana-mcp asks it.
    pub fn vaults(&self) -> Vaults {
        self.auth.vaults.clone()
    }

    /// The id of the first space of this user whose metadata says it is the personal one.
    pub async fn space_of(&self, user_id: &str) -> Option<String> {
        let spaces = readable(self.auth.store.organizations(user_id).await);
        let personal = spaces.iter().find(|space| {
            let metadata = match &space["metadata"] {
                Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
                other => other.clone(),
            };
            metadata["type"] == "personal"
        })?;
        personal["id"].as_str().map(str::to_owned)
    }

    /// Lets organization/list answer this user with exactly these elements.
    pub async fn set_organizations(&self, user_id: &str, organizations: &[Value]) {
        readable(self.auth.store.set_organizations(user_id, organizations).await);
    }

    /// Deletes a user, with its sessions and spaces and, where they are mana-auth's, its persona, audit rows
    /// and ratings.
    pub async fn delete_user(&self, user_id: &str) {
        let keep_persona = self.auth.personas_are_elsewhere.load(Ordering::SeqCst);
        readable(self.auth.store.delete_user(user_id, keep_persona).await);
    }

    /// Sets when this persona last acted; `None` is never.
    pub async fn set_last_active_at(&self, user_id: &str, at: Option<Timestamp>) {
        readable(self.auth.store.set_last_active_at(user_id, at).await);
    }

    /// Puts these rows, however malformed, behind the due personas in every answer of /due from
    /// now on.
    pub fn set_raw_due_rows(&self, rows: Vec<Value>) {
        *self.auth.raw_due_rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    /// Every answer of /due so far, whether it arrived or not.
    pub fn listings(&self) -> Vec<Listing> {
        self.auth.listings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every batch of actions taken so far, whether the answer arrived or not.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.auth.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// User ids of those who are due now.
    pub async fn due_now(&self) -> Vec<String> {
        let due = readable(self.auth.store.due(self.auth.clock.now(), false).await);
        due.into_iter().map(|due| due.persona.user_id).collect()
    }

    /// The database itself. Requests wait while it is held.
    pub async fn database(&self) -> MutexGuard<'_, SqliteConnection> {
        self.auth.store.connection().await
    }
}

/// The value of a statement of our own on our own database.
fn readable<T>(result: Result<T, sqlx::Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("devstack's own database failed: {error}"),
    }
}
