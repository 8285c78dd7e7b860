//! The MCP session of a run: opened as the persona, with its tools listed, and always ended.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use devstack::{
    claude::Scripted,
    fault::Fault,
    mcp::{Behaviour, ToolSet},
    recorder::Recorded,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    script::{
        answer_rpc, anything, habits_list, main_requests, make_due, no_tools, null_id,
        only_failure, outcomes, play, play_well, posts, rpc, spoil_rpc,
    },
    support::Setup,
};

#[tokio::test]
async fn jwt_and_space_go_with_every_request_and_each_run_has_a_session_of_its_own() {
    let world = Setup::one(&["habits"]).start().await;
    let space = world.peers.auth.space_of(&world.users[0]).await.unwrap();
    let recorder = &world.peers.mcp.served.recorder;
    let mut sessions = HashSet::new();
    for _ in 0..2 {
        make_due(&world).await;
        recorder.clear();
        play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")]).await;
        let requests = recorder.all();
        let jwt = requests[0].header("authorization").unwrap().to_owned();
        assert!(jwt.starts_with("Bearer eyJ"), "{jwt}");
        let session = requests[1].header("mcp-session-id").unwrap().to_owned();
        for (n, request) in requests.iter().enumerate() {
            let later = (n > 0).then_some(());
            assert_eq!(request.path(), "/mcp");
            assert_eq!(request.header("authorization"), Some(jwt.as_str()));
            assert_eq!(request.header("x-mana-space"), Some(space.as_str()));
            assert_eq!(request.header("mcp-session-id"), later.map(|()| session.as_str()));
            assert_eq!(request.header("mcp-protocol-version"), later.map(|()| "2025-11-25"));
            let accept = request.header("accept").unwrap_or_default();
            let takes_both =
                ["application/json", "text/event-stream"].iter().all(|t| accept.contains(t));
            assert!(takes_both || request.method != Method::POST, "{accept}");
        }
        let methods: Vec<_> = requests.iter().map(|r| r.json()["method"].clone()).collect();
        let (deleted, before) = methods.split_last().unwrap();
        assert_eq!(before, ["initialize", "notifications/initialized", "tools/list", "tools/call"]);
        assert_eq!((deleted, &requests.last().unwrap().method), (&Value::Null, &Method::DELETE));
        let params = &requests[0].json()["params"];
        assert_eq!(
            (&params["protocolVersion"], &params["capabilities"]),
            (&json!("2025-11-25"), &json!({}))
        );
        assert_eq!(requests[3].json()["params"]["arguments"], json!({}));
        assert!(sessions.insert(session));
    }
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn all_pages_of_the_tool_list_are_offered_sorted_by_name() {
    let world = Setup::one(&["habits"]).peers(|p| p.mcp.page_size = Some(7)).start().await;
    // The request for the third page is sent again.
    let third = |r: &Recorded| r.json()["params"]["cursor"] == "after-14";
    world.peers.mcp.served.faults.inject(1, Fault::status(503, "{}"), third);
    play_well(&world, [Scripted::text("Nichts.")]).await;
    let request = main_requests(&world).pop().unwrap();
    let names = request.tool_names();
    assert_eq!(names.len(), 53 - 4, "the tools that cost the product money are not offered");
    assert_eq!(rpc(&world, "tools/list").len(), 53usize.div_ceil(7) + 1);
    let mcp_names: Vec<_> = names.iter().map(|name| name.replacen('_', ".", 1)).collect();
    assert!(mcp_names.is_sorted(), "{mcp_names:?}");
    let tool = request.tools.iter().find(|tool| tool["name"] == "habits_create").unwrap();
    assert_eq!(
        tool.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["name", "description", "input_schema"]
    );
    assert_eq!(tool["input_schema"]["required"], json!(["title", "frequency"]));
    assert!(tool["description"].as_str().unwrap().starts_with("Create a new habit"));
}

#[tokio::test]
async fn without_a_tool_list_the_run_fails_before_anything_is_paid() {
    enum Lists {
        Answers(Vec<Value>),
        Fails(usize, Fault),
    }
    let page = |name: &str| {
        let tool = json!({"name": name, "inputSchema": anything()});
        json!({"tools": [tool], "nextCursor": "x"})
    };
    // Each tool fits, all of them together do not.
    let described = |n| {
        let description = "x".repeat(60_000);
        json!({"name": format!("a.{n}"), "inputSchema": anything(), "description": description})
    };
    let heavy = json!({"tools": (0..18).map(described).collect::<Vec<_>>()});
    let nameless = json!({"tools": [{"name": ""}, 7]});
    let shapeless = json!({"tools": [{"name": "a.b"}]});
    for (says, lists) in [
        ("no tools", Lists::Answers(vec![])),
        ("no tools", Lists::Answers(vec![nameless])),
        ("left out for its schema", Lists::Answers(vec![shapeless])),
        ("more than 1 MB", Lists::Answers(vec![heavy])),
        ("no tool list", Lists::Answers(vec![json!({"tools": "none"})])),
        ("earlier", Lists::Answers(vec![page("a.a"), page("a.b")])),
        ("not like this", Lists::Fails(1, null_id(400))),
        ("401", Lists::Fails(1, Fault::status(401, "{}"))),
        ("503", Lists::Fails(3, Fault::status(503, "{}"))),
    ] {
        let world = no_tools().await;
        match lists {
            Lists::Answers(results) => answer_rpc(&world, "tools/list", &results),
            Lists::Fails(times, fault) => spoil_rpc(&world, "tools/list", times, fault),
        }
        let result = world.tick().await;
        let error = only_failure(&result);
        assert!(error.contains("tools/list") && error.contains(says), "{says}: {error}");
        assert_eq!(world.peers.claude.served.recorder.all().len(), 0, "{says}");
        assert_eq!(posts(&world, "/actions").len(), 0, "{says}");
        assert_eq!(world.peers.mcp.open_sessions(), 0, "{says}");
        assert_eq!(world.tick().await["skipped"], 1, "{says}: it backs off");
    }
}

#[tokio::test]
async fn a_session_lost_on_the_server_is_opened_anew_and_the_call_repeated() {
    let world = Setup::one(&["habits"]).start().await;
    let gone = Fault::status(404, r#"{"error":"Session not found"}"#);
    let (mcp, nth) = (&world.peers.mcp, AtomicUsize::new(0));
    mcp.served.faults.inject(1, gone, move |r| {
        // Selects the second call of the run.
        r.json()["method"] == "tools/call" && nth.fetch_add(1, SeqCst) == 1
    });
    let replies = [(); 3].map(|()| Scripted::tools(&[habits_list()]));
    play_well(&world, replies.into_iter().chain([Scripted::text("Ok.")])).await;
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok"); 3]);
    let calls = mcp.calls();
    assert_eq!(calls.len(), 3);
    assert_ne!(calls[0].session_id, calls[1].session_id);
    assert_eq!(calls[1].session_id, calls[2].session_id);
    assert!(calls.iter().all(|call| call.space_id == calls[0].space_id));
    assert_eq!(rpc(&world, "initialize").len(), 2);
}

#[tokio::test]
async fn opening_a_session_is_retried_where_that_may_help_and_only_there() {
    let refused = |status| Fault::status(status, r#"{"error":"no"}"#);
    // Fault, number of times, attempts, error of the failed run.
    for (fault, times, attempts, error) in [
        (refused(500), 1, 2, None),
        (refused(503), 2, 3, None),
        (refused(429), 1, 2, None),
        (Fault::Reset, 1, 2, None),
        (refused(502), 9, 3, Some("502")),
        (refused(401), 9, 1, Some("401")),
        (refused(403), 9, 1, Some("403")),
        (null_id(400), 9, 1, Some("not like this")),
    ] {
        let world = Setup::one(&["habits"]).start().await;
        let what = format!("{fault:?}");
        spoil_rpc(&world, "initialize", times, fault);
        let result = play(&world, [Scripted::text("Ok.")]).await;
        assert_eq!(rpc(&world, "initialize").len(), attempts, "{what}");
        assert_eq!(world.peers.mcp.open_sessions(), 0, "{what}");
        match error {
            None => assert_eq!(result["ranSuccessfully"], 1, "{what}: {result}"),
            Some(error) => {
                let failure = only_failure(&result);
                assert!(
                    failure.contains("initialize") && failure.contains(error),
                    "{what}: {failure}"
                );
                assert_eq!(world.peers.claude.requests().len(), 0, "{what}");
                assert_eq!(posts(&world, "/actions").len(), 0, "{what}");
                assert_eq!(world.tick().await["skipped"], 1, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_with_a_server_of_an_older_revision_is_ended() {
    let world = Setup::one(&["habits"]).start().await;
    let server = json!({"name": "m", "version": "0"});
    let odd = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": server});
    let old = Fault::Respond {
        status: 200,
        headers: vec![
            ("content-type", "application/json".into()),
            ("mcp-session-id", "old".into()),
        ],
        body: json!({"jsonrpc": "2.0", "id": 0, "result": odd}).to_string(),
    };
    spoil_rpc(&world, "initialize", 9, old);
    spoil_rpc(&world, "notifications/initialized", 9, Fault::status(202, ""));
    let result = world.tick().await;
    assert!(only_failure(&result).contains("2024-11-05"), "{result}");
    assert_eq!(rpc(&world, "initialize").len(), 1);
    let deleted = world.peers.mcp.served.recorder.matching(|r| r.method == Method::DELETE);
    let sessions: Vec<_> = deleted.iter().map(|r| r.header("mcp-session-id")).collect();
    assert_eq!(sessions, [Some("old")]);
    assert_eq!(world.peers.claude.requests().len(), 0);
}

#[tokio::test]
async fn a_session_whose_handshake_breaks_off_is_deleted_too() {
    let world = Setup::one(&["habits"]).start().await;
    spoil_rpc(&world, "notifications/initialized", 1, Fault::status(503, "{}"));
    play_well(&world, [Scripted::text("Ok.")]).await;
    assert_eq!(rpc(&world, "initialize").len(), 2);
    assert_eq!(world.peers.mcp.open_sessions(), 0);
}

#[tokio::test]
async fn the_session_is_deleted_on_every_way_a_run_can_end() {
    let world = Setup::one(&["habits"]).start().await;
    let (claude, auth) = (&world.peers.claude.served.faults, &world.peers.auth.served.faults);
    let mcp = &world.peers.mcp.served;
    let refused = || Fault::status(422, "{}");
    let spoils: [(&str, &dyn Fn()); 6] = [
        ("nothing", &|| {}),
        ("the first reply", &|| claude.inject(1, refused(), |_| true)),
        ("the second reply", &|| {
            claude.inject(1, refused(), |r| r.json()["messages"][2].is_object())
        }),
        ("the actions", &|| auth.on(1, Method::POST, "/actions", refused())),
        ("the rating", &|| claude.inject(1, refused(), |r| r.json()["tools"].is_null())),
        ("the feedback", &|| auth.on(1, Method::POST, "/feedback", refused())),
    ];
    for (n, (what, spoil)) in spoils.iter().enumerate() {
        make_due(&world).await;
        world.clock.advance(Duration::from_secs(7_200));
        spoil();
        let result = world.tick().await;
        assert_eq!(result["failed"].as_array().unwrap().len(), usize::from(n > 0), "{what}");
        let deleted = mcp.recorder.matching(|r| r.method == Method::DELETE).len();
        assert_eq!((deleted, world.peers.mcp.open_sessions()), (n + 1, 0), "{what}");
    }
    // If the server does not end the session, no run fails.
    make_due(&world).await;
    mcp.faults.on(1, Method::DELETE, "/mcp", Fault::status(500, "{}"));
    world.good_tick().await;
}

#[tokio::test]
async fn too_many_pages_or_tools_are_refused_before_anything_is_paid() {
    for (says, tools, page_size, requests) in
        [("more than 64 pages", 65, Some(1), 64), ("more than 1,000 tools", 1_001, None, 1)]
    {
        let setup = Setup::one(&["habits"]).peers(|peers| {
            peers.mcp.tools = ToolSet::Empty;
            peers.mcp.page_size = page_size;
        });
        let world = setup.start().await;
        for n in 0..tools {
            world.peers.mcp.add_tool(&format!("t.n{n:04}"), "", anything());
        }
        let result = world.tick().await;
        assert!(only_failure(&result).contains(says), "{says}: {result}");
        assert_eq!(rpc(&world, "tools/list").len(), requests, "{says}");
        assert_eq!(world.peers.claude.served.recorder.all().len(), 0, "{says}");
        assert_eq!(world.peers.mcp.open_sessions(), 0, "{says}");
    }
}

#[tokio::test]
async fn an_answer_of_more_than_4_mib_is_an_error_and_the_day_goes_on() {
    let world = Setup::one(&["habits"]).start().await;
    let huge = json!({"content": [{"type": "text", "text": "x".repeat(4 << 20)}]});
    world.peers.mcp.override_tool("habits.list", 1, Behaviour::Result(huge));
    let day = [Scripted::tools(&[habits_list()]), Scripted::tools(&[habits_list()])];
    play_well(&world, day.into_iter().chain([Scripted::text("Ok.")])).await;
    let rows = world.actions().await;
    assert_eq!(outcomes(&rows), [("habits.list", "error"), ("habits.list", "ok")]);
    assert!(main_requests(&world)[1].raw.len() < 1 << 20, "none of it reaches the model");
}
