//! Peers may echo what they received. None of a persona's secrets may be passed on.

use std::time::Duration;

use devstack::{auth::Deployment, claude::Scripted, fault::Fault, mcp::Behaviour, wire::Served};
use mana_persona_runner::{agent::step::Step, domain::derive_password};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    script::{
        answer_rpc, anything, calls_of, habits_list, make_due_after, only_failure, play_well,
        posts, spoil_rpc,
    },
    support::{SEED_SECRET, Setup, World},
};

const EMAIL: &str = "persona.anna@mana.test";

/// Secrets of a persona and of the runner that a peer may have received, by kind.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// The secrets of a world whose only persona has run once: its session is kept, and because the peers'
    /// clock is stopped, its next JWT will be the same.
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

    /// All secrets in one line, as an error page of a careless peer would print them.
    fn echo(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(kind, value)| format!("{kind}={value}")).collect();
        format!("Unauthorized request: {}", all.join("; "))
    }

    /// The kinds of secrets of which `text` contains at least the first half.
    fn found_in(&self, text: &str) -> Vec<&'static str> {
        let found = self.0.iter().filter(|(_, value)| text.contains(&value[..value.len() / 2]));
        found.map(|(kind, _)| *kind).collect()
    }

    /// Checks everything that the daemon has passed on so far to a place that must not contain secrets.
    async fn assert_kept(&self, world: &World, result: &Value) {
        let mut texts: Vec<(String, String)> = Vec::new();
        for (n, request) in world.peers.claude.requests().into_iter().enumerate() {
            texts.push((format!("prompt {n}"), request.raw));
        }
        for path in ["/actions", "/feedback"] {
            for post in posts(world, path) {
                texts.push((path.into(), String::from_utf8_lossy(&post.body).into_owned()));
            }
        }
        for failed in result["failed"].as_array().unwrap() {
            texts.push(("failed[]".into(), failed["error"].to_string()));
        }
        texts.push(("/metrics".into(), world.metrics().await));
        for (place, text) in texts {
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

/// A persona with a run each hour. With daily runs its session would expire, and the kept secrets with it.
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
        // Excerpts are cut at 120 characters, errors of peers at 300, rows at 500, results at 30,000.
        for cut in [120, 300, 500, 30_000_usize] {
            // Three quarters of the secret are before the cut; the longest secrets are longer than some
            // limits.
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
    // Not 400: after a 400 the request would be sent again without thinking.
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

/// Words of structure: of tool definitions, journal steps, the model's blocks and ratings.
const WORDS: [&str; 12] = [
    "description",
    "object",
    "string",
    "properties",
    "input_schema",
    "tool_use",
    "end_turn",
    "content",
    "replied",
    "stop_reason",
    "rating",
    "module",
];

#[tokio::test]
async fn a_secret_that_is_a_word_of_some_structure_breaks_nothing() {
    let setup = hourly().peers(|peers| peers.auth.deployment = Deployment::Seeds);
    let world = setup.start().await;
    let schema = json!({
        "type": "object",
        "description": "The object and its description.",
        "properties": {"description": {"type": "string", "description": "a string"}},
        "required": ["description"],
    });
    let schema = schema.as_object().unwrap();
    world.peers.mcp.add_tool("odd.create", "A description.", schema.clone());
    let client = reqwest::Client::new();
    for word in WORDS {
        make_due_after(&world, HOUR).await;
        world.clock.advance(Duration::from_secs(7_200));
        let credentials = json!({"email": EMAIL, "password": derive_password(SEED_SECRET, EMAIL)});
        let url = format!("{}/api/v1/auth/login", world.peers.auth.served.url);
        let request = client.post(url).header("content-type", "application/json");
        let answer = request.body(credentials.to_string()).send().await.unwrap();
        let mut answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["refreshToken"] = json!(word);
        let faults = &world.peers.auth.served.faults;
        faults.on(1, Method::POST, "/auth/login", Fault::status(200, answer.to_string()));
        let input = json!({"description": "x"});
        play_well(&world, [Scripted::tools(&[("odd_create", input)]), Scripted::text("Ok.")]).await;
        assert!(faults.is_empty(), "{word}");
        let request = world.peers.claude.requests().into_iter().rev().find(|r| !r.is_rating());
        let tools: Value = serde_json::from_str(&request.unwrap().raw).unwrap();
        let tools = tools["tools"].as_array().unwrap().clone();
        let tool = tools.iter().find(|tool| tool["name"] == "odd_create").unwrap();
        let properties = tool["input_schema"]["properties"].clone();
        assert_eq!(properties["description"]["type"], "string", "{word}: {properties}");
        let journal = world.journal().await;
        let run = journal.latest_runs(1).await.unwrap().remove(0);
        for step in journal.steps(run.id).await.unwrap() {
            let read = serde_json::from_str::<Step>(&step.body);
            assert!(read.is_ok(), "{word} in step {}: {read:?}", step.number);
        }
        let (rows, ratings) = (world.actions().await, world.feedback().await);
        assert_eq!(rows.last().map(|row| row.result.as_str()), Some("ok"), "{word}");
        assert_eq!(ratings.last().map(|row| row.module.as_str()), Some("odd"), "{word}");
    }
    assert_eq!(world.actions().await.len(), WORDS.len());
}

#[tokio::test]
async fn a_secret_in_the_name_of_a_tool_reaches_neither_the_model_nor_a_metric() {
    let world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    let mut names = vec!["eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln".to_owned()];
    names.extend(secrets.0.iter().map(|(_, value)| value.clone()));
    names.retain(|name| name.len() < 120);
    let mut tools = vec![json!({"name": "todo.fine", "inputSchema": anything()})];
    for name in &names {
        for name in [name.clone(), format!("todo.{name}")] {
            tools.push(json!({"name": name, "inputSchema": anything()}));
        }
    }
    assert!(tools.len() > 10);
    world.peers.mcp.add_tool("todo.fine", "", anything());
    answer_rpc(&world, "tools/list", &[json!({ "tools": tools })]);
    make_due_after(&world, HOUR).await;
    play_well(&world, [Scripted::tools(&[("todo_fine", json!({}))]), Scripted::text("Ok.")]).await;
    let request = world.peers.claude.requests().into_iter().rev().find(|r| !r.is_rating()).unwrap();
    assert_eq!(request.tool_names(), ["todo_fine"]);
    secrets.assert_kept(&world, &json!({"failed": []})).await;
}

#[tokio::test]
async fn the_category_of_a_refusal_shows_no_part_of_a_secret() {
    let world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    for (kind, value) in &secrets.0 {
        let padding = 64_usize.saturating_sub(value.len() * 3 / 4);
        for category in [format!("{}{value}", ".".repeat(padding)), value.clone()] {
            make_due_after(&world, HOUR).await;
            world.clock.advance(Duration::from_secs(7_200));
            world.peers.claude.enqueue(Scripted::refusal(&category));
            let result = world.tick().await;
            assert!(only_failure(&result).contains("declined"), "{kind}: {result}");
            secrets.assert_kept(&world, &result).await;
            let runs = world.journal().await.latest_runs(1).await.unwrap();
            let steps = world.journal().await.steps(runs[0].id).await.unwrap();
            let steps: String = steps.into_iter().map(|step| step.body).collect();
            let found = secrets.found_in(&steps);
            assert!(found.iter().all(|kind| *kind == "e-mail"), "{found:?} in {steps}");
        }
    }
}

#[tokio::test]
async fn secrets_that_mana_auth_echoes_at_a_delivery_are_not_stored_even_for_earlier_processes() {
    let mut world = hourly().start().await;
    let secrets = Secrets::of(&world).await;
    let auth = &world.peers.auth.served.faults;
    let away = |body: &str| Fault::status(503, body);
    auth.on(usize::MAX, Method::POST, "/actions", away(&secrets.echo()));
    make_due_after(&world, HOUR).await;
    world.clock.advance(Duration::from_secs(7_200));
    world.tick().await;
    let reasons = async |world: &World| -> Vec<String> {
        let kept = world.journal().await.kept_posts().await.unwrap();
        kept.into_iter().filter_map(|post| post.reason).collect()
    };
    let kept = reasons(&world).await;
    assert!(!kept.is_empty());
    assert_eq!(secrets.found_in(&kept.concat()), [""; 0], "{kept:?}");
    world.kill().await;
    let auth = &world.peers.auth.served.faults;
    auth.clear();
    // The password is at the point where the text is cut, and also in other encodings.
    let password = derive_password(SEED_SECRET, EMAIL);
    let hex: String = password.bytes().map(|byte| format!("{byte:02X}")).collect();
    let echo = format!("{hex} {} {password}", ".".repeat(300 - 10 - 3 - 24));
    auth.on(usize::MAX, Method::POST, "/actions", Fault::status(400, echo));
    world.clock.advance(Duration::from_secs(600));
    world.start_again(&[]).await;
    let is_dead = async |journal: &mana_persona_runner::journal::Journal| {
        journal.kept_posts().await.unwrap().iter().any(|post| post.is_dead)
    };
    world.journal_reaches("a refused post", is_dead).await;
    let kept = reasons(&world).await.concat();
    assert!(kept.contains("[redacted]"), "{kept}");
    assert!(!kept.contains(&password[..8]) && !kept.contains(&hex[..16]), "{kept}");
}
