//! mana-auth as docs/contracts/mana-auth.md describes it: personas log in, services read who is due and post
//! what the personas did.
//!
//! All lasting state is in SQLite under the schema `auth`, with the product's table and column names, so that
//! a statement from the product's documents runs unchanged on [`ManaAuth::database`].

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

/// Which variant of mana-auth is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deployment {
    /// The running service as recorded: the JWT is returned as `accessToken`, and organization/list requires
    /// the signed session cookie.
    #[default]
    Running,
    /// The variant described by the seeds: the JWT is returned as `token` and is accepted as Bearer by
    /// organization/list and token; there is no sign-in/email.
    Seeds,
}

/// The settings of a simulated mana-auth.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The variant of the service that is simulated.
    pub deployment: Deployment,
    /// The `X-Service-Key` that the service path requires.
    pub service_key: String,
    /// Sets the session cookie as a service with an https base URL sets it.
    pub https_cookie: bool,
    /// Allows 3 sign-ins per 10 s per X-Forwarded-For value; requests without the header share one count.
    pub rate_limit: bool,
    /// Sends the metadata of the seeded spaces as a JSON string instead of an object.
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
    /// The kind of person that the persona represents, for example `ceo-busy`.
    pub archetype: String,
    /// The system prompt that Claude plays the persona with.
    pub system_prompt: String,
    /// Weight of each module.
    pub module_mix: Map<String, Value>,
    /// `hourly`, `daily` or `weekdays`.
    #[serde(rename = "tickCadence")]
    pub cadence: String,
}

/// The contents of one answer of /due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The `serverTime` field of the answer.
    pub server_time: Timestamp,
    /// User ids of the listed personas, without the rows that tests added.
    pub users: Vec<String>,
}

/// A batch of actions that was accepted, whether its rows were new or already stored: in both cases the
/// persona counts as active from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When the batch was accepted, by the calendar.
    pub at: Timestamp,
    /// User id of the persona that the batch belongs to.
    pub user: String,
    /// The tick id of the batch's first row.
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
    /// The system provided no random bytes.
    #[error("no randomness for the cookie key")]
    Randomness(#[from] Unspecified),
}

/// Why a persona could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database refused a row; an e-mail exists only once.
    #[error("writing the persona failed")]
    Database(#[from] sqlx::Error),
    /// The system provided no random bytes.
    #[error("no randomness for ids and salts")]
    Randomness(#[from] Unspecified),
}

/// The state that the handlers share.
struct Auth {
    options: AuthOptions,
    clock: Clock,
    keys: Keys,
    store: Store,
    guard: Guard,
    cookie: SessionCookie,
    vaults: Vaults,
    /// Rows that tests add unchanged to every answer of /due.
    raw_due_rows: Mutex<Vec<Value>>,
    /// Every answer of /due.
    listings: Mutex<Vec<Listing>>,
    /// Every batch of actions that was accepted.
    deliveries: Mutex<Vec<Delivery>>,
    /// Base URL, which is the issuer of the JWTs; set once the socket is bound.
    url: OnceLock<String>,
    /// Whether another service stores the personas. Deleting a user then keeps the persona.
    personas_are_elsewhere: AtomicBool,
}

impl Auth {
    fn issuer(&self) -> &str {
        self.url.get().map_or("", String::as_str)
    }
}

/// A running mana-auth with its database.
pub struct ManaAuth {
    /// The socket of this peer: recorded requests and planned faults.
    pub served: Served,
    auth: Arc<Auth>,
}

impl fmt::Debug for ManaAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManaAuth").field("served", &self.served).finish_non_exhaustive()
    }
}

impl ManaAuth {
    /// Starts a mana-auth without users. JWTs are signed with `keys`, and every date comes from `clock`.
    ///
    /// # Errors
    /// When no port, no database or no random bytes are available.
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

    /// Serves the three internal endpoints on a second socket under `/api/v1/personas/internal`, as later
    /// versions of the product do. From then on deleting a user keeps its persona, which stays due at this
    /// second service.
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

    /// Creates these personas and returns their user ids in the same order. `password_of` returns the
    /// password for an e-mail. Either all personas are created or none.
    ///
    /// # Errors
    /// When an e-mail already exists, and when the database or the random generator fails.
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

    /// Creates personas as [`Self::seed`] does, with the user ids that another mana-auth assigned to them.
    ///
    /// # Errors
    /// As [`Self::seed`], and when a user id already exists.
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
    /// When the database fails, as all reading methods of this type do: a test must not take a failure for
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

    /// The number of logins of this e-mail.
    pub async fn logins(&self, email: &str) -> Logins {
        readable(self.auth.store.logins(Some(email)).await)
    }

    /// How many sessions were created, including expired ones: each successful login creates one.
    pub async fn sessions_created(&self) -> usize {
        let Logins { login, sign_in_email } = readable(self.auth.store.logins(None).await);
        login + sign_in_email
    }

    /// Which users have an encryption vault. The handle is shared with mana-mcp.
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

    /// Makes organization/list answer this user with exactly these elements.
    pub async fn set_organizations(&self, user_id: &str, organizations: &[Value]) {
        readable(self.auth.store.set_organizations(user_id, organizations).await);
    }

    /// Deletes a user with its sessions and spaces. Where mana-auth stores the personas, the user's persona,
    /// audit rows and ratings are deleted too.
    pub async fn delete_user(&self, user_id: &str) {
        let keep_persona = self.auth.personas_are_elsewhere.load(Ordering::SeqCst);
        readable(self.auth.store.delete_user(user_id, keep_persona).await);
    }

    /// Sets when this persona was last active; `None` means never.
    pub async fn set_last_active_at(&self, user_id: &str, at: Option<Timestamp>) {
        readable(self.auth.store.set_last_active_at(user_id, at).await);
    }

    /// Adds these rows, however malformed, after the due personas in every answer of /due from now on.
    pub fn set_raw_due_rows(&self, rows: Vec<Value>) {
        *self.auth.raw_due_rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    /// Every answer of /due so far, whether or not the client received it.
    pub fn listings(&self) -> Vec<Listing> {
        self.auth.listings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every batch of actions accepted so far, whether or not the client received the answer.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.auth.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// User ids of the personas that are due now.
    pub async fn due_now(&self) -> Vec<String> {
        let due = readable(self.auth.store.due(self.auth.clock.calendar(), false).await);
        due.into_iter().map(|due| due.persona.user_id).collect()
    }

    /// The database connection. Requests wait while the guard is held.
    pub async fn database(&self) -> MutexGuard<'_, SqliteConnection> {
        self.auth.store.connection().await
    }
}

/// The result of a statement that only a bug of devstack can make fail.
fn readable<T>(result: Result<T, sqlx::Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("devstack's own database failed: {error}"),
    }
}
