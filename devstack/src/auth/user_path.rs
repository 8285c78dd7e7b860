//! The user path: a persona logs in as a human does and lists its spaces.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{
        HeaderMap,
        header::{AUTHORIZATION, SET_COOKIE},
    },
    response::IntoResponse,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Auth, Deployment,
    password::random_id,
    refusal::Refusal,
    store::{OpenedBy, Session, User},
};

pub(super) fn router(auth: Arc<Auth>) -> Router {
    let mut router = Router::new()
        .route("/api/v1/auth/login", post(login))
        .route("/api/auth/organization/list", get(organizations))
        .route("/api/auth/token", get(token))
        .route("/api/auth/jwks", get(jwks))
        .route("/api/v1/me/encryption-vault/init", post(init_vault));
    if auth.options.deployment == Deployment::Running {
        router = router.route("/api/auth/sign-in/email", post(sign_in_email));
    }
    router.with_state(auth)
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

/// The user that a request comes from.
struct Caller {
    user_id: String,
    email: String,
    session_id: String,
}

async fn login(
    State(auth): State<Arc<Auth>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let (user, session) = sign_in(&auth, &headers, &body, OpenedBy::Login).await?;
    let jwt = auth.jwt(&user.id, &user.email, &session.id);
    let user = described(&user);
    Ok(Json(match auth.options.deployment {
        Deployment::Running => json!({
            "redirect": false, "token": session.token, "user": user,
            "accessToken": jwt, "refreshToken": session.token,
        }),
        Deployment::Seeds => json!({"redirect": false, "token": jwt, "user": user}),
    }))
}

async fn sign_in_email(
    State(auth): State<Arc<Auth>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Refusal> {
    let (user, session) = sign_in(&auth, &headers, &body, OpenedBy::SignInEmail).await?;
    let body = json!({"redirect": false, "token": session.token, "user": described(&user)});
    Ok(([(SET_COOKIE, auth.cookie.set(&session.token))], Json(body)))
}

/// Checks the rate limit, the lockout and the credentials, and opens a session.
async fn sign_in(
    auth: &Auth,
    headers: &HeaderMap,
    body: &[u8],
    form: OpenedBy,
) -> Result<(User, Session), Refusal> {
    let now = auth.clock.now();
    let address = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    if auth.options.rate_limit && !auth.guard.admits(address.unwrap_or_default(), now) {
        return Err(match form {
            OpenedBy::Login => Refusal::RateLimited,
            OpenedBy::SignInEmail => Refusal::RateLimitedSignIn,
        });
    }
    let credentials: Credentials = serde_json::from_slice(body).map_err(|_| Refusal::Validation)?;
    if !credentials.email.contains('@') || credentials.password.is_empty() {
        return Err(Refusal::Validation);
    }
    let email = credentials.email.to_lowercase();
    if let Some(seconds) = auth.guard.locked_for(&email, now) {
        return Err(Refusal::AccountLocked(seconds));
    }
    let Some(user) = auth.store.user_by_password(&email, &credentials.password).await? else {
        auth.guard.failed(&email, now);
        return Err(match form {
            OpenedBy::Login => Refusal::InvalidCredentials,
            OpenedBy::SignInEmail => Refusal::InvalidEmailOrPassword,
        });
    };
    auth.guard.succeeded(&email);
    let session = Session { id: random_id()?, token: random_id()? };
    auth.store.open_session(&user.id, &session, form, now).await?;
    Ok((user, session))
}

fn described(user: &User) -> Value {
    json!({
        "id": user.id, "email": user.email, "name": user.name,
        "kind": user.kind, "accessTier": user.access_tier,
    })
}

async fn organizations(
    State(auth): State<Arc<Auth>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let caller = auth.caller(&headers).await?;
    Ok(Json(auth.store.organizations(&caller.user_id).await?.into()))
}

async fn token(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let caller = auth.caller(&headers).await?;
    Ok(Json(json!({"token": auth.jwt(&caller.user_id, &caller.email, &caller.session_id)})))
}

async fn jwks(State(auth): State<Arc<Auth>>) -> Json<Value> {
    Json(auth.keys.jwks())
}

async fn init_vault(
    State(auth): State<Arc<Auth>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let caller = auth.caller_by_jwt(&headers).await?;
    auth.vaults.init(&caller.user_id);
    Ok(Json(json!({"ok": true})))
}

impl Auth {
    fn jwt(&self, user_id: &str, email: &str, session_id: &str) -> String {
        self.keys.issue(user_id, email, session_id, self.issuer(), self.clock.now())
    }

    /// The user that calls a route under /api/auth, identified by what this deployment accepts there.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self.options.deployment {
            Deployment::Running => self.caller_by_cookie(headers).await,
            Deployment::Seeds => self.caller_by_jwt(headers).await,
        }
    }

    async fn caller_by_cookie(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = self.cookie.token(headers).ok_or(Refusal::Unauthorized)?;
        let session = self.store.session(&token, self.clock.now()).await?;
        let (session_id, user_id, email) = session.ok_or(Refusal::Unauthorized)?;
        Ok(Caller { user_id, email, session_id })
    }

    async fn caller_by_jwt(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let jwt = header.and_then(|value| value.strip_prefix("Bearer "));
        let claims = jwt
            .and_then(|jwt| self.keys.verify(jwt, self.clock.now()).ok())
            .ok_or(Refusal::Unauthorized)?;
        if !self.store.has_user(&claims.sub).await? {
            return Err(Refusal::Unauthorized);
        }
        Ok(Caller { user_id: claims.sub, email: claims.email, session_id: claims.sid })
    }
}
