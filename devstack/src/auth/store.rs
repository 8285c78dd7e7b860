//! The database: users, their sessions and spaces. Personas and their rows are in `rows` and
//! `batch`.

use aws_lc_rs::error::Unspecified;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    SeedPersona,
    password::{PasswordHash, random_id},
    session,
};

/// One connection for all requests: an in-memory database exists only within its connection.
pub(super) struct Store(Mutex<SqliteConnection>);

/// The constraints refuse what PostgreSQL refuses for the product's columns: NUL in a text, and a number that
/// is not an integer or out of range.
const SCHEMA: &str = "
ATTACH DATABASE ':memory:' AS auth;
CREATE TABLE auth.users (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL DEFAULT 'persona',
    access_tier TEXT NOT NULL DEFAULT 'founder',
    password_salt BLOB NOT NULL,
    password_hash BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE auth.deleted_users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL
) STRICT;
CREATE TABLE auth.sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token TEXT NOT NULL UNIQUE,
    opened_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE TABLE auth.organizations (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    listed TEXT NOT NULL
) STRICT;
CREATE TABLE auth.personas (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    archetype TEXT NOT NULL,
    system_prompt TEXT NOT NULL,
    module_mix TEXT NOT NULL,
    tick_cadence TEXT NOT NULL,
    last_active_at TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE auth.persona_actions (
    id TEXT NOT NULL PRIMARY KEY CHECK (instr(id, char(0)) = 0),
    persona_id TEXT NOT NULL REFERENCES personas (user_id) ON DELETE CASCADE,
    tick_id TEXT NOT NULL CHECK (instr(tick_id, char(0)) = 0),
    tool_name TEXT NOT NULL CHECK (instr(tool_name, char(0)) = 0),
    input_hash TEXT CHECK (instr(input_hash, char(0)) = 0),
    result TEXT NOT NULL,
    error_message TEXT CHECK (instr(error_message, char(0)) = 0),
    latency_ms INTEGER CHECK (latency_ms BETWEEN -2147483648 AND 2147483647),
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE auth.persona_feedback (
    id TEXT NOT NULL PRIMARY KEY CHECK (instr(id, char(0)) = 0),
    persona_id TEXT NOT NULL REFERENCES personas (user_id) ON DELETE CASCADE,
    tick_id TEXT NOT NULL CHECK (instr(tick_id, char(0)) = 0),
    module TEXT NOT NULL CHECK (instr(module, char(0)) = 0),
    rating INTEGER NOT NULL CHECK (rating BETWEEN -32768 AND 32767),
    notes TEXT CHECK (instr(notes, char(0)) = 0),
    created_at TEXT NOT NULL
) STRICT;
";

/// A date as the service writes it in answers, and as devstack stores it in columns: sorts as text.
pub(super) fn iso(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A user account, without its password.
pub(super) struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    pub kind: String,
    pub access_tier: String,
}

/// Which endpoint opened a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenedBy {
    Login,
    SignInEmail,
}

impl OpenedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SignInEmail => "sign-in/email",
        }
    }
}

/// A session as its client needs it.
pub(super) struct Session {
    pub id: String,
    pub token: String,
}

/// Counts of successful logins by endpoint; each login opened a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Number of logins through `POST /api/v1/auth/login`.
    pub login: usize,
    /// Number of logins through `POST /api/auth/sign-in/email`.
    pub sign_in_email: usize,
}

/// A persona's user and personal space that are not stored yet.
pub(super) struct NewUser<'a> {
    pub id: String,
    persona: &'a SeedPersona,
    password: PasswordHash,
    space: Value,
}

impl<'a> NewUser<'a> {
    pub(super) fn new(
        persona: &'a SeedPersona,
        password: &str,
        metadata_as_string: bool,
        now: Timestamp,
    ) -> Result<Self, Unspecified> {
        let metadata = json!({"tier": "public", "type": "personal"});
        let local_part = persona.email.split('@').next().unwrap_or_default();
        let space = json!({
            "name": persona.name,
            "slug": local_part.replace('.', "-"),
            "logo": null,
            "createdAt": iso(now),
            "metadata": if metadata_as_string { metadata.to_string().into() } else { metadata },
            "id": random_id()?,
        });
        Ok(Self { id: random_id()?, persona, password: PasswordHash::of(password)?, space })
    }
}

impl Store {
    /// Creates an empty database in memory.
    pub(super) async fn open() -> Result<Self, sqlx::Error> {
        let options: SqliteConnectOptions = "sqlite::memory:".parse()?;
        let mut connection = options.disable_statement_logging().connect().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(super) async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.0.lock().await
    }

    /// Stores these users with their spaces and personas; either all are stored or none.
    pub(super) async fn insert(
        &self,
        users: &[NewUser<'_>],
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await?;
        for user in users {
            sqlx::query(
                "INSERT INTO auth.users (id, name, email, password_salt, password_hash, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&user.id)
            .bind(&user.persona.name)
            .bind(user.persona.email.to_lowercase())
            .bind(&user.password.salt)
            .bind(&user.password.hash)
            .bind(iso(now))
            .execute(&mut *transaction)
            .await?;
            sqlx::query("INSERT INTO auth.organizations (user_id, listed) VALUES ($1, $2)")
                .bind(&user.id)
                .bind(user.space.to_string())
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "INSERT INTO auth.personas
                 (user_id, archetype, system_prompt, module_mix, tick_cadence, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&user.id)
            .bind(&user.persona.archetype)
            .bind(&user.persona.system_prompt)
            .bind(jsonb(&user.persona.module_mix).to_string())
            .bind(&user.persona.cadence)
            .bind(iso(now))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    /// The user with this e-mail, if the password is correct.
    pub(super) async fn user_by_password(
        &self,
        email: &str,
        password: &str,
    ) -> Result<Option<User>, sqlx::Error> {
        type Row = (String, String, String, String, String, Vec<u8>, Vec<u8>);
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, name, email, kind, access_tier, password_salt, password_hash
             FROM auth.users WHERE email = $1",
        )
        .bind(email)
        .fetch_optional(&mut *self.connection().await)
        .await?;
        Ok(row.and_then(|(id, name, email, kind, access_tier, salt, hash)| {
            let user = User { id, name, email, kind, access_tier };
            PasswordHash { salt, hash }.matches(password).then_some(user)
        }))
    }

    /// Whether this user exists.
    pub(super) async fn has_user(&self, user_id: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM auth.users WHERE id = $1)")
            .bind(user_id)
            .fetch_one(&mut *self.connection().await)
            .await
    }

    /// Opens a session for this user.
    pub(super) async fn open_session(
        &self,
        user_id: &str,
        session: &Session,
        opened_by: OpenedBy,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO auth.sessions (id, user_id, token, opened_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&session.id)
        .bind(user_id)
        .bind(&session.token)
        .bind(opened_by.as_str())
        .bind(iso(now))
        .bind(iso(now + SignedDuration::from_secs(session::LIFETIME_SECONDS)))
        .execute(&mut *self.connection().await)
        .await?;
        Ok(())
    }

    /// Session id, user id and e-mail of the session with this token, unless it has expired.
    pub(super) async fn session(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<(String, String, String)>, sqlx::Error> {
        sqlx::query_as(
            "SELECT s.id, u.id, u.email FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
             WHERE s.token = $1 AND s.expires_at > $2",
        )
        .bind(token)
        .bind(iso(now))
        .fetch_optional(&mut *self.connection().await)
        .await
    }

    /// The logins of this e-mail, or of all users for `None`.
    pub(super) async fn logins(&self, email: Option<&str>) -> Result<Logins, sqlx::Error> {
        let opened_by: Vec<String> = sqlx::query_scalar(
            "SELECT s.opened_by FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
             WHERE $1 IS NULL OR u.email = $1",
        )
        .bind(email.map(str::to_lowercase))
        .fetch_all(&mut *self.connection().await)
        .await?;
        let login = opened_by.iter().filter(|form| *form == OpenedBy::Login.as_str()).count();
        Ok(Logins { login, sign_in_email: opened_by.len() - login })
    }

    /// The elements that organization/list returns for this user.
    pub(super) async fn organizations(&self, user_id: &str) -> Result<Vec<Value>, sqlx::Error> {
        let listed: Vec<String> = sqlx::query_scalar(
            "SELECT listed FROM auth.organizations WHERE user_id = $1 ORDER BY rowid",
        )
        .bind(user_id)
        .fetch_all(&mut *self.connection().await)
        .await?;
        Ok(listed.iter().map(|space| serde_json::from_str(space).unwrap_or_default()).collect())
    }

    pub(super) async fn set_organizations(
        &self,
        user_id: &str,
        organizations: &[Value],
    ) -> Result<(), sqlx::Error> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await?;
        sqlx::query("DELETE FROM auth.organizations WHERE user_id = $1")
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        for organization in organizations {
            sqlx::query("INSERT INTO auth.organizations (user_id, listed) VALUES ($1, $2)")
                .bind(user_id)
                .bind(organization.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// Deletes a user with all of its rows. With `keep_persona`, the persona and its rows stay, because
    /// another service, which has no foreign key to the user, stores them.
    pub(super) async fn delete_user(
        &self,
        user_id: &str,
        keep_persona: bool,
    ) -> Result<(), sqlx::Error> {
        let mut connection = self.connection().await;
        let statements: &[&'static str] = match keep_persona {
            false => &["DELETE FROM auth.users WHERE id = $1"],
            true => &[
                "INSERT INTO auth.deleted_users SELECT id, email FROM auth.users WHERE id = $1",
                "PRAGMA foreign_keys = OFF",
                "DELETE FROM auth.sessions WHERE user_id = $1",
                "DELETE FROM auth.organizations WHERE user_id = $1",
                "DELETE FROM auth.users WHERE id = $1",
                "PRAGMA foreign_keys = ON",
            ],
        };
        for statement in statements.iter().copied() {
            let query = sqlx::query(statement);
            let query = if statement.contains("$1") { query.bind(user_id) } else { query };
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// The object as a jsonb column returns it: shorter keys first, then in byte order. A client must not depend
/// on the order in which the object was written.
fn jsonb(object: &Map<String, Value>) -> Value {
    let mut entries: Vec<_> = object.clone().into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    Value::Object(entries.into_iter().collect())
}
