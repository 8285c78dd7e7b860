//! The personal space is the only one that is used: mana-mcp writes to any space that it is given.

use devstack::auth::Deployment;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Setup, World, for_each, path::SPACES};

const LOGIN: &str = "/diag/login?email=persona.anna@mana.test";

/// A space with this id and metadata.
fn space(id: &str, metadata: Value) -> Value {
    json!({"name": id, "slug": id, "logo": null, "id": id, "metadata": metadata})
}

fn personal(id: &str) -> Value {
    space(id, json!({"tier": "public", "type": "personal"}))
}

fn personal_as_text(id: &str) -> Value {
    space(id, json!(r#"{"type":"personal","tier":"public"}"#))
}

fn team(id: &str) -> Value {
    space(id, json!({"type": "team"}))
}

/// A persona with these spaces.
async fn world(deployment: Deployment, spaces: &[Value]) -> World {
    let setup = Setup::one(&["todo"]).idle();
    let world = setup.peers(|peers| peers.auth.deployment = deployment).start().await;
    world.peers.auth.set_organizations(&world.users[0], spaces).await;
    world
}

#[tokio::test]
async fn a_run_works_in_the_first_space_that_says_it_is_personal() {
    let lists = [
        vec![personal("mine")],
        vec![personal_as_text("mine")],
        vec![team("ours"), space("other", json!(null)), personal("mine")],
        vec![space("other", json!("{")), personal_as_text("mine"), personal("second")],
        vec![personal("mine"), personal_as_text("second"), team("ours")],
        vec![json!({"id": "bare", "name": "no metadata"}), personal("mine")],
        vec![space("odd", json!(["personal"])), space("odd2", json!(7)), personal("mine")],
    ];
    let cases = lists.iter().flat_map(|list| {
        [Deployment::Running, Deployment::Seeds].map(|deployment| (deployment, list))
    });
    for_each(cases, |(deployment, list)| async move {
        let world = world(deployment, list).await;
        let (status, login) = world.call(Method::GET, LOGIN).await;
        assert_eq!(status, StatusCode::OK, "{login}");
        assert_eq!(login["spaceId"], "mine", "{deployment:?} {list:?}");
        world.good_tick().await;
        let requests = world.peers.mcp.served.recorder.all();
        assert!(!requests.is_empty());
        for request in requests {
            assert_eq!(request.header("x-mana-space"), Some("mine"), "{deployment:?} {list:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_personal_space_nothing_reaches_the_tools_or_the_model() {
    let lists = [
        vec![],
        vec![team("ours")],
        vec![space("only", json!(null))],
        vec![space("only", json!("personal")), space("text", json!("{\"type\":\"team\"}"))],
        vec![space("only", json!({"type": "Personal"})), space("list", json!(["personal"]))],
        vec![space("only", json!({"kind": "personal", "type": null}))],
        vec![json!({"id": "bare", "type": "personal"})],
        vec![space("nested", json!({"metadata": {"type": "personal"}}))],
    ];
    let cases = lists.iter().flat_map(|list| {
        [Deployment::Running, Deployment::Seeds].map(|deployment| (deployment, list))
    });
    for_each(cases, |(deployment, list)| async move {
        let world = world(deployment, list).await;
        let (status, login) = world.call(Method::GET, LOGIN).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{list:?}");
        assert!(login["error"].as_str().unwrap().contains("personal"), "{login}");
        let result = world.tick().await;
        let error = result["failed"][0]["error"].as_str().unwrap();
        assert!(error.contains("personal"), "{deployment:?} {list:?}: {error}");
        assert_eq!(world.peers.mcp.served.recorder.all().len(), 0, "{deployment:?} {list:?}");
        assert_eq!(world.peers.claude.served.recorder.all().len(), 0, "{deployment:?} {list:?}");
        assert_eq!(world.actions().await.len(), 0);
        let series = r#"runs_total{outcome="failed",stage="space"}"#;
        assert_eq!(world.metric(series).await, Some(1.0));
    })
    .await;
}

#[tokio::test]
async fn a_space_whose_id_cannot_be_sent_is_refused_before_the_tools() {
    for_each(["", "two words", "line\nbreak", "zwölf"], |id| async move {
        let world = world(Deployment::Running, &[personal(id), personal("second")]).await;
        let result = world.tick().await;
        assert!(result["failed"][0]["error"].as_str().is_some(), "{id:?}: {result}");
        assert_eq!(world.peers.mcp.served.recorder.all().len(), 0, "{id:?}");
    })
    .await;
}

#[tokio::test]
async fn the_space_is_looked_up_anew_in_every_run() {
    let world = world(Deployment::Running, &[personal("first")]).await;
    world.good_tick().await;
    world.advance(std::time::Duration::from_secs(90_000));
    world.peers.auth.set_organizations(&world.users[0], &[personal("moved")]).await;
    world.good_tick().await;
    let spaces: Vec<_> = world
        .initializes()
        .iter()
        .map(|r| r.header("x-mana-space").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(spaces, ["first", "moved"]);
    assert_eq!(world.asked(SPACES, Some("cookie")).len(), 2);
}
