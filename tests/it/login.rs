//! Logging in, in both kinds of deployment: as rarely as possible, and again only where necessary.

use std::{collections::HashSet, time::Duration};

use devstack::{
    auth::{Deployment, Logins},
    catalog,
    fault::Fault,
    recorder::Recorded,
};
use mana_persona_runner::domain::derive_password;
use serde_json::json;

use crate::support::{
    SEED_SECRET, Setup, World, for_each,
    logs::Logs,
    path::{LOGIN, SIGN_IN, SPACES, TOKEN},
};

const DAY_AND_A_BIT: Duration = Duration::from_secs(25 * 3_600);
/// Longer than the seven days for which sessions of mana-auth live.
const EIGHT_DAYS: Duration = Duration::from_secs(8 * 86_400);

/// The distinct values of a header.
fn values(requests: &[Recorded], header: &str) -> HashSet<String> {
    requests.iter().map(|r| r.header(header).unwrap_or("none").to_owned()).collect()
}

/// Three days of the ten personas, all running at the same time.
async fn three_days(deployment: Deployment) -> World {
    let setup = Setup::catalog().idle().var("PERSONA_CONCURRENCY", 10);
    let world = setup.peers(|peers| peers.auth.deployment = deployment).start().await;
    for _ in 0..3 {
        assert_eq!(world.good_tick().await["ranSuccessfully"], 10);
        world.advance(DAY_AND_A_BIT);
    }
    assert_eq!(values(&world.initializes(), "authorization").len(), 30, "a fresh JWT per run");
    world
}

#[tokio::test]
async fn the_running_service_is_recognised_once_and_its_sessions_are_kept() {
    let logs = Logs::capture("info");
    let world = three_days(Deployment::Running).await;
    // One login in the wrong form detected the kind of deployment; each persona signed in once in three days.
    assert_eq!(world.asked(LOGIN, None).len(), 1);
    assert_eq!(world.asked(SPACES, Some("authorization")).len(), 1);
    assert_eq!(world.asked(SIGN_IN, None).len(), 10);
    assert_eq!(world.peers.auth.sessions_created().await, 11);
    for path in [SPACES, TOKEN] {
        let asked = world.asked(path, Some("cookie"));
        assert_eq!(asked.len(), 30, "{path}");
        assert_eq!(values(&asked, "cookie").len(), 10, "{path}");
    }
    assert_eq!(logs.lines_with("mana-auth lists spaces for its session cookie").len(), 1);
}

#[tokio::test]
async fn the_seeds_deployment_is_recognised_once_and_a_run_needs_one_login() {
    let logs = Logs::capture("info");
    let world = three_days(Deployment::Seeds).await;
    assert_eq!(world.asked(LOGIN, None).len(), 30);
    assert_eq!(world.asked(SIGN_IN, None).len(), 0);
    assert_eq!(world.asked(TOKEN, None).len(), 0);
    assert_eq!(world.asked(SPACES, Some("authorization")).len(), 30);
    for persona in catalog::personas() {
        let logins = world.peers.auth.logins(&persona.email).await;
        assert_eq!(logins, Logins { login: 3, sign_in_email: 0 }, "{}", persona.email);
    }
    assert_eq!(logs.lines_with("mana-auth lists spaces for the JWT").len(), 1);
}

#[tokio::test]
async fn the_deployment_is_detected_once_even_if_the_first_run_then_fails() {
    let refused = || Fault::status(403, "{}");
    // The login in the second form proves that the deployment uses cookies.
    let troubles = [
        ("no login", LOGIN, "content-type", 1),
        ("no session", SIGN_IN, "content-type", 2),
        ("no spaces", SPACES, "cookie", 1),
        ("no JWT", TOKEN, "cookie", 1),
    ];
    for_each(troubles, |(trouble, path, header, found_out)| async move {
        let world = Setup::catalog().idle().var("PERSONA_CONCURRENCY", 10).start().await;
        world
            .peers
            .auth
            .served
            .faults
            .inject(1, refused(), move |r| r.path() == path && r.headers.contains_key(header));
        let result = world.tick().await;
        assert_eq!(result["ranSuccessfully"], 9, "{trouble}: {result}");
        let by_jwt = world.asked(SPACES, Some("authorization")).len();
        assert_eq!(by_jwt, found_out, "{trouble}");
    })
    .await;
}

#[tokio::test]
async fn the_cookie_of_an_https_service_is_sent_back_as_it_came() {
    let setup = Setup::one(&["todo"]).idle().peers(|peers| peers.auth.https_cookie = true);
    let world = setup.start().await;
    for _ in 0..2 {
        world.good_tick().await;
        world.advance(DAY_AND_A_BIT);
    }
    let cookies = values(&world.asked(SPACES, Some("cookie")), "cookie");
    let [cookie] = &cookies.into_iter().collect::<Vec<_>>()[..] else { panic!("one cookie") };
    assert!(cookie.starts_with("__Secure-mana.session_token="), "{cookie}");
    assert!(!cookie.contains(';'), "{cookie}");
    assert_eq!(world.asked(SIGN_IN, None).len(), 1);
}

#[tokio::test]
async fn a_session_that_is_no_longer_accepted_costs_one_more_login() {
    let expiries = [
        ("its seven days are over", EIGHT_DAYS, None),
        ("revoked", DAY_AND_A_BIT, Some(SPACES)),
        ("revoked between two requests", DAY_AND_A_BIT, Some(TOKEN)),
    ];
    for_each(expiries, |(how, later, revoked_at)| async move {
        let world = Setup::one(&["todo"]).idle().start().await;
        world.good_tick().await;
        world.advance(later);
        if let Some(path) = revoked_at {
            refuse(&world, 1, path);
        }
        world.good_tick().await;
        assert_eq!(world.asked(LOGIN, None).len(), 1, "{how}");
        assert_eq!(world.asked(SIGN_IN, None).len(), 2, "{how}");
        assert_eq!(values(&world.asked(TOKEN, None), "cookie").len(), 2, "{how}");
    })
    .await;
}

#[tokio::test]
async fn a_run_logs_in_once_even_if_its_new_session_is_not_accepted_either() {
    for_each([SPACES, TOKEN], |path| async move {
        let world = Setup::one(&["todo"]).idle().start().await;
        world.good_tick().await;
        world.advance(DAY_AND_A_BIT);
        refuse(&world, usize::MAX, path);
        let result = world.tick().await;
        let error = result["failed"][0]["error"].as_str().unwrap();
        assert!(error.contains("401"), "{error}");
        assert_eq!(world.asked(LOGIN, None).len() + world.asked(SIGN_IN, None).len(), 3, "{path}");
    })
    .await;
}

#[tokio::test]
async fn a_session_outlasts_a_run_that_failed_after_the_login() {
    for_each([SPACES, TOKEN], |path| async move {
        let setup = Setup::one(&["todo"]).idle().var("RUN_BACKOFF_MS", 1);
        let world = setup.start().await;
        world.peers.auth.served.faults.inject(1, Fault::status(403, "{}"), move |r| {
            r.path() == path && r.headers.contains_key("cookie")
        });
        assert_eq!(world.tick().await["failed"].as_array().map(Vec::len), Some(1));
        world.advance(Duration::from_secs(1));
        world.good_tick().await;
        // An open session is used again, because every session stays open at mana-auth for seven days.
        assert_eq!(world.asked(SIGN_IN, None).len(), 1, "{path}");
    })
    .await;
}

fn refuse(world: &World, times: usize, path: &str) {
    let refusal = Fault::status(401, r#"{"code":"UNAUTHORIZED"}"#);
    world.peers.auth.served.faults.on(times, reqwest::Method::GET, path, refusal);
}

/// A request of the user path, and the run in which it is sent.
#[derive(Clone, Copy)]
struct Asked {
    deployment: Deployment,
    path: &'static str,
    header: Option<&'static str>,
    /// The request is sent in the second run, with the session of the first run.
    resumed: bool,
}

const REQUESTS: [Asked; 9] = {
    const fn asked(path: &'static str, header: Option<&'static str>) -> Asked {
        Asked { deployment: Deployment::Running, path, header, resumed: false }
    }
    const fn seeds(asked: Asked) -> Asked {
        Asked { deployment: Deployment::Seeds, ..asked }
    }
    const fn resumed(asked: Asked) -> Asked {
        Asked { resumed: true, ..asked }
    }
    [
        asked(LOGIN, None),
        asked(SPACES, Some("authorization")),
        asked(SIGN_IN, None),
        asked(SPACES, Some("cookie")),
        asked(TOKEN, Some("cookie")),
        resumed(asked(SPACES, Some("cookie"))),
        resumed(asked(TOKEN, Some("cookie"))),
        seeds(asked(LOGIN, None)),
        seeds(asked(SPACES, Some("authorization"))),
    ]
};

/// A persona whose run meets `fault` at this request `times` times and then continues.
async fn retried(asked: Asked, times: usize, fault: Fault) {
    let Asked { deployment, path, header, resumed } = asked;
    let setup = Setup::one(&["todo"]).idle();
    let world = setup.peers(|peers| peers.auth.deployment = deployment).start().await;
    let case = format!("{deployment:?} {path} {header:?} resumed: {resumed}, {fault:?}");
    if resumed {
        world.good_tick().await;
        world.advance(DAY_AND_A_BIT);
    }
    world.peers.auth.served.faults.inject(times, fault, move |r| {
        r.path() == path && header.is_none_or(|name| r.headers.contains_key(name))
    });
    let result = world.tick().await;
    assert_eq!(result["failed"], json!([]), "{case}");
    // Only the request that failed was repeated; the login was not started again.
    let undisturbed: &[(&str, usize)] = match (deployment, resumed) {
        (Deployment::Seeds, _) => &[(LOGIN, 1), (SIGN_IN, 0), (SPACES, 1), (TOKEN, 0)],
        (Deployment::Running, false) => &[(LOGIN, 1), (SIGN_IN, 1), (SPACES, 2), (TOKEN, 1)],
        (Deployment::Running, true) => &[(LOGIN, 1), (SIGN_IN, 1), (SPACES, 3), (TOKEN, 2)],
    };
    for &(each, count) in undisturbed {
        let expected = count + if each == path { times } else { 0 };
        assert_eq!(world.asked(each, None).len(), expected, "{case}: {each}");
    }
}

#[tokio::test]
async fn every_request_of_a_login_is_repeated_where_that_may_help() {
    let faults = [Fault::status(503, "busy"), Fault::Reset, Fault::CutBody(5)];
    let cases =
        REQUESTS.iter().flat_map(|asked| faults.iter().map(|fault| (*asked, fault.clone())));
    // A request that is never answered ends after ten seconds, so one of them represents all.
    let silent = (REQUESTS[4], Fault::Hang);
    for_each(cases.chain([silent]), |(asked, fault)| async move {
        let times = if matches!(fault, Fault::Hang) { 1 } else { 2 };
        retried(asked, times, fault).await;
    })
    .await;
}

#[tokio::test]
async fn the_derived_password_is_what_is_sent() {
    let world = Setup::one(&["todo"]).idle().start().await;
    world.good_tick().await;
    let email = "persona.anna@mana.test";
    let credentials = json!({"email": email, "password": derive_password(SEED_SECRET, email)});
    for path in [LOGIN, SIGN_IN] {
        let asked = world.asked(path, None);
        assert_eq!(asked.len(), 1, "{path}");
        assert_eq!(asked[0].json(), credentials, "{path}");
        assert_eq!(asked[0].header("content-type"), Some("application/json"));
    }
}
