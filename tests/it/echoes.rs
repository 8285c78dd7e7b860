//! Peers can echo what they were sent. None of a persona's secrets gets any further.

use std::time::Duration;

use devstack::{claude::Scripted, fault::Fault, mcp::Behaviour, wire::Served};
use mana_persona_runner::domain::derive_password;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    script::{
        anything, calls_of, habits_list, make_due_after, only_failure, play_well, posts, spoil_rpc,
    },
    support::{SEED_SECRET, Setup, World},
};

const EMAIL: &str = "persona.anna@mana.test";

/// What a peer may have seen of a persona and of the runner, by kind.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// Of a world whose one persona has run before: its session is kept, and as the peers' clock
    /// stands still, its next JWT will be the same.
    async fn of(world: &World) -> Self {
        world.peers.clock.set_speed(0.0);
        play_well(world, [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")]).await;
        let sent = |to: &Served, name: &str| {
            let requests = to.recorder.all();
            requests.iter().rev().find_map(|r| r.header(name)).unwrap().to_owned()
        };
        let authorization = sent(&world.peers.mcp.served, "authorization");
        let cookie = sent(&world.peers.auth.served, "cookie");
        let session = cookie.split_once('=').unwrap().1.to_owned();
        let token = session.split_once('.').unwrap().0.to_owned();
        let mut secrets = vec![
            ("password", derive_password(SEED_SECRET, EMAIL)),
            ("jwt", authorization.strip_prefix("Bearer ").unwrap().to_owned()),
            ("cookie", session),
            ("session token", token),
            ("e-mail", EMAIL.to_owned()),
            ("seed secret", SEED_SECRET.to_owned()),
        ];
        for (name, value) in world.peers.environment() {
            if name.ends_with("_KEY") {
                secrets.push((name, value.clone()));
            }
        }
        assert_eq!(secrets.len(), 8);
        Self(secrets)
    }

    /// All of them in one line, as an error page of a careless peer would print them.
    fn echo(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(kind, value)| format!("{kind}={value}")).collect();
        format!("Unauthorized request: {}", all.join("; "))
    }

    /// The kinds of secrets of which at least the first half is in `text`.
    fn found_in(&self, text: &str) -> Vec<&'static str> {
        let found = self.0.iter().filter(|(_, value)| text.contains(&value[..value.len() / 2]));
        found.map(|(kind, _)| *kind).collect()
    }

    /// Everything the daemon has said so far to anyone who should not know a secret.
    async fn assert_kept(&self, world: &World, result: &Value) {
        let mut said: Vec<(String, String)> = Vec::new();
        for (n, request) in world.peers.claude.requests().into_iter().enumerate() {
            said.push((format!("prompt {n}"), request.raw));
        }
        for path in ["/actions", "/feedback"] {
            for post in posts(world, path) {
                said.push((path.into(), String::from_utf8_lossy(&post.body).into_owned()));
            }
        }
        for failed in result["failed"].as_array().unwrap() {
            said.push(("failed[]".into(), failed["error"].to_string()));
        }
        said.push(("/metrics".into(), world.metrics().await));
        for (place, text) in said {
            let found = self.found_in(&text);
            let around = |kind: &&str| {
                let value = &self.0.iter().find(|(name, _)| name == kind).unwrap().1;
                let at = text.find(&value[..value.len() / 2]).unwrap();
                text[at.saturating_sub(60)..].chars().take(120).collect::<String>()
            };
            let places: Vec<_> = found.iter().map(around).collect();
            assert!(found.is_empty(), "{found:?} in {place}: {places:#?}");
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A persona with a run each hour: in days its session would end, and with it what is kept of it.
fn hourly() -> Setup {
    let mut setup = Setup::one(&["habits"]);
    setup.personas[0].cadence = "hourly".into();
    setup
}

#[tokio::test]
async fn secrets_in_answers_of_tools_reach_neither_the_model_nor_a_row() {
    let world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    let echo = secrets.echo();
    let text = |text: &str| json!({"type": "text", "text": text});
    let resource = json!({"uri": echo, "mimeType": echo, "text": echo});
    let blob = json!({"uri": echo, "mimeType": echo, "blob": "AAAA"});
    let mcp = &world.peers.mcp;
    let mut tools = Vec::new();
    let results = [
        json!({"content": [text(&echo)]}),
        json!({"content": [text(&echo)], "isError": true}),
        json!({"structuredContent": {"headers": [echo]}}),
        json!({"content": [{"type": "resource", "resource": resource}]}),
        json!({"content": [{"type": "resource", "resource": blob}]}),
        json!({"content": [{"type": "resource_link", "uri": echo, "name": echo, "mimeType": echo}]}),
        json!({"content": [{"type": "image", "mimeType": echo, "data": "AAAA"}]}),
        json!({"content": [{"type": "audio", "mimeType": echo, "data": "AAAA"}]}),
        json!({"content": [{"type": echo}]}),
    ];
    for (n, result) in results.into_iter().enumerate() {
        let name = format!("r.{n}");
        mcp.override_tool(&name, 1, Behaviour::Result(result));
        tools.push(name);
    }
    for (name, text) in secrets.0.iter().map(|(kind, value)| (format!("e.{kind}"), value)) {
        let message = format!("not for {text}!");
        mcp.override_tool(&name, 1, Behaviour::RpcError { code: -32603, message });
        tools.push(name);
    }
    for status in [400, 401, 500] {
        let name = format!("s.{status}");
        mcp.served.faults.inject(
            1,
            Fault::status(status, json!({"error": echo}).to_string()),
            calls_of(&name),
        );
        tools.push(name);
    }
    play_all(&world, &tools).await;
    secrets.assert_kept(&world, &json!({"failed": []})).await;
}

/// A day in which each of these tools is called once, in this order.
async fn play_all(world: &World, tools: &[String]) {
    for name in tools {
        world.peers.mcp.add_tool(name, "", anything());
    }
    let spelled: Vec<_> = tools.iter().map(|name| name.replace(['.', ' '], "_")).collect();
    let calls: Vec<_> = spelled.iter().map(|name| (name.as_str(), json!({}))).collect();
    make_due_after(world, HOUR).await;
    play_well(world, [Scripted::tools(&calls), Scripted::text("Seltsam.")]).await;
    let actions = world.actions().await;
    let called: Vec<_> = actions.iter().map(|row| &row.tool_name).collect();
    assert!(called.ends_with(&tools.iter().collect::<Vec<_>>()), "{called:?}");
}

#[tokio::test]
async fn a_secret_at_the_place_where_a_text_is_cut_does_not_show_in_part() {
    let world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    let mcp = &world.peers.mcp;
    let mut tools = Vec::new();
    for (kind, value) in &secrets.0 {
        // Excerpts are cut at 120, errors of peers at 300, rows at 500, results at 30,000.
        for cut in [120, 300, 500, 30_000_usize] {
            // Three quarters of it come before the cut; the longest are longer than some texts.
            let Some(padding) = cut.checked_sub(value.len() * 3 / 4) else { continue };
            let text = format!("{}{value}{}", ".".repeat(padding), ".".repeat(200));
            for (how, behaviour) in [
                ("tool", Behaviour::IsError(text.clone())),
                ("rpc", Behaviour::RpcError { code: -32603, message: text }),
            ] {
                let name = format!("{how}.{kind}.{cut}");
                mcp.override_tool(&name, 1, behaviour);
                tools.push(name);
            }
        }
    }
    play_all(&world, &tools).await;
    secrets.assert_kept(&world, &json!({"failed": []})).await;
}

#[tokio::test]
async fn secrets_in_the_error_bodies_of_peers_stay_out_of_rows_and_failures() {
    let world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    let echo = secrets.echo();
    let kind = json!({"type": echo, "message": echo, "details": {"error_code": echo}});
    // Not 400: what carries thinking is sent once more without any then.
    let claude = Fault::status(422, json!({"type": "error", "error": kind}).to_string());
    let plain =
        || Fault::status(400, json!({"error": echo, "code": echo, "message": echo}).to_string());
    let (auth, model) = (&world.peers.auth.served.faults, &world.peers.claude.served.faults);
    let spoils: [(&str, &dyn Fn()); 8] = [
        ("initialize", &|| spoil_rpc(&world, "initialize", 1, plain())),
        ("tools/list", &|| spoil_rpc(&world, "tools/list", 1, plain())),
        ("the first reply", &|| model.inject(1, claude.clone(), |_| true)),
        ("a later reply", &|| {
            model.inject(1, claude.clone(), |r| r.json()["messages"][2].is_object())
        }),
        ("the rating", &|| model.inject(1, claude.clone(), |r| r.json()["tools"].is_null())),
        ("the actions", &|| auth.on(1, Method::POST, "/actions", plain())),
        ("the spaces", &|| auth.on(1, Method::GET, "/organization/list", plain())),
        ("the token", &|| auth.on(1, Method::GET, "/api/auth/token", plain())),
    ];
    for (what, spoil) in spoils {
        make_due_after(&world, HOUR).await;
        world.clock.advance(Duration::from_secs(7_200));
        spoil();
        let result = world.tick().await;
        assert!(!only_failure(&result).is_empty(), "{what}");
        secrets.assert_kept(&world, &result).await;
    }
    let rows = world.actions().await;
    assert!(rows.iter().any(|row| row.tool_name == "__run"), "one of them reached a row");
}
