//! The pages of runs: the list with its filter and its parts, a run's transcript, and its calls.

use std::{collections::BTreeSet, time::Duration};

use devstack::{
    claude::Scripted,
    fault::Fault,
    mcp::{PlantedFault, Shows},
    recorder::Recorded,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    script::habits_list,
    support::{Setup, World, client, in_journal, patiently},
};

/// A page of the daemon.
async fn page(world: &World, path: &str) -> (StatusCode, String) {
    let answer =
        patiently(path, client().get(format!("{}{path}", world.url)).send()).await.unwrap();
    (answer.status(), patiently(path, answer.text()).await.unwrap())
}

async fn good_page(world: &World, path: &str) -> String {
    let (status, page) = page(world, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {page}");
    page
}

async fn json_of(world: &World, path: &str) -> Value {
    let (status, body) = world.call(Method::GET, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

/// The values of an attribute. No text of a page has a quotation mark that is not escaped.
fn attributes<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let mark = format!(" {name}=\"");
    let values = page.split(&*mark).skip(1);
    values.map(|rest| rest.split_once('"').unwrap().0).collect()
}

/// The ids of the runs at this address, in its order.
async fn ids(world: &World, path: &str) -> Vec<String> {
    let list = json_of(world, path).await;
    let runs = list["runs"].as_array().unwrap().iter();
    runs.map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

/// The answers of a persona that lists its habits once, creates one and closes its day.
fn script(world: &World) {
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        1 => Some(Scripted::tools(&[(
            "habits_create",
            json!({"title": "Lesen <b>", "frequency": "daily"}),
        )])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
}

fn second(request: &Recorded) -> bool {
    let body = request.json();
    !body["tools"].is_null() && body["messages"].as_array().is_some_and(|all| all.len() == 3)
}

#[tokio::test]
async fn each_call_of_a_run_is_on_its_page_and_calls_and_ratings_lead_to_each_other() {
    let world = Setup::one(&["habits", "todo"]).start().await;
    world.good_tick().await;
    let run = ids(&world, "/ui/runs.json").await.pop().unwrap();
    let calls = in_journal(&world, "SELECT CAST(number AS TEXT) FROM calls ORDER BY number").await;
    let page = good_page(&world, &format!("/ui/runs/{run}?lang=en")).await;
    let anchors = attributes(&page, "id");
    let of_calls = anchors.iter().filter_map(|id| id.strip_prefix("call-"));
    assert!(calls.len() > 3, "{calls:?}");
    assert_eq!(of_calls.collect::<Vec<_>>(), calls);
    assert_eq!(anchors.iter().collect::<BTreeSet<_>>().len(), anchors.len());
    let links = attributes(&page, "href");
    let within: Vec<_> = links.iter().filter_map(|href| href.strip_prefix('#')).collect();
    assert!(within.iter().all(|anchor| anchors.contains(anchor)), "{within:?}");
    // A rating names a call, and that call names the rating.
    let rating = anchors.iter().find(|id| id.starts_with("rating-")).unwrap();
    assert!(within.contains(rating));
    let at = |id: &str| page.split_once(&format!(" id=\"{id}\"")).unwrap().1;
    let evidence = at(rating).split_once("rests on call").unwrap().1;
    let evidence = evidence.split_once("</p>").unwrap().0;
    let call = attributes(evidence, "href")[0].strip_prefix('#').unwrap();
    let call = at(call).split_once("</details>").unwrap().0;
    assert!(attributes(call, "href").contains(&&*format!("#{rating}")), "{call}");

    let value = json_of(&world, &format!("/ui/runs/{run}.json")).await;
    assert_eq!(value["run"]["label"], "persona.anna");
    assert_eq!(value["calls"].as_array().unwrap().len(), calls.len());
    assert_eq!(value["run"]["calls"], calls.len());
    for list in ["turns", "ratings", "events"] {
        assert!(!value[list].as_array().unwrap().is_empty(), "{list}: {value}");
    }
}

#[tokio::test]
async fn all_that_is_kept_of_a_call_is_on_its_page() {
    let world = Setup::one(&["habits"]).start().await;
    script(&world);
    world.good_tick().await;
    let run = ids(&world, "/ui/runs.json").await.pop().unwrap();
    let page_of = |number: &str| format!("/ui/runs/{run}/calls/{number}");
    let shown = good_page(&world, &page_of("2")).await;
    let input = r#"{&quot;title&quot;: &quot;Lesen &lt;b&gt;&quot;, &quot;frequency&quot;: &quot;daily&quot;}"#;
    assert!(shown.contains(input), "{shown}");
    assert!(attributes(&shown, "href").contains(&&*format!("/ui/runs/{run}#call-2")));
    assert_eq!(attributes(&shown, "rel").iter().filter(|rel| **rel == "prev").count(), 1);
    let call = json_of(&world, &format!("{}.json", page_of("2"))).await;
    assert_eq!((&call["tool"], &call["number"]), (&json!("habits.create"), &json!(2)));
    assert!(call["input"].as_str().unwrap().contains("Lesen <b>"));
    for number in ["0", "3", "x", "-1", "4294967296"] {
        assert_eq!(page(&world, &page_of(number)).await.0, StatusCode::NOT_FOUND, "{number}");
    }
    let unknown = "019aa5b4-7f1e-7cc3-9d5e-3f1f7a1c2b3d";
    for path in
        ["/ui/runs/x", &format!("/ui/runs/{unknown}"), &format!("/ui/runs/{unknown}/calls/1")]
    {
        let (status, page) = page(&world, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(page.matches("<h1>").count(), 1);
        let (status, body) = world.call(Method::GET, &format!("{path}.json")).await;
        assert_eq!((status, &body["ok"]), (StatusCode::NOT_FOUND, &json!(false)));
    }
    let (status, body) = world.call(Method::GET, &format!("/ui/runs/{run}.json?part=x")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().contains("part"), "{body}");
}

#[tokio::test]
async fn a_filter_in_the_address_lets_only_some_runs_through() {
    let world = Setup::many(&["anna", "ben", "carla"]).start().await;
    script(&world);
    let fault = PlantedFault::new("full", Shows::Text("The list is full".into()));
    world.peers.mcp.plant(fault.at(["habits.create"]).befalls(["persona.ben@mana.test"]));
    world.good_tick().await;
    let list = json_of(&world, "/ui/runs.json").await;
    let id_of = |label: &str| {
        let mut runs = list["runs"].as_array().unwrap().iter();
        let run = runs.find(|run| run["label"] == label).unwrap();
        (run["id"].as_str().unwrap().to_owned(), run["persona"].as_str().unwrap().to_owned())
    };
    let (ben, persona) = id_of("persona.ben");
    let all = ids(&world, "/ui/runs.json").await;
    assert_eq!(all.len(), 3);
    let run = json_of(&world, &format!("/ui/runs/{ben}.json")).await;
    let issue = run["run"]["frictions"][0].as_str().unwrap();
    let model = run["run"]["model"].as_str().unwrap();
    for (filter, expected) in [
        ("persona=persona.ben".to_owned(), 1),
        (format!("persona={persona}"), 1),
        (format!("issue={issue}"), 1),
        (format!("issue={issue}&persona=persona.anna"), 0),
        ("tool=habits.create&module=habits".into(), 3),
        ("tool=todo.list".into(), 0),
        ("module=todo".into(), 0),
        (format!("model={model}&outcome=done&days=7&deployment=D-1&persona="), 3),
        ("outcome=failed".into(), 0),
        ("outcome=running".into(), 0),
        ("deployment=2".into(), 0),
        ("from=2026-03-09&to=2026-03-09".into(), 3),
        ("from=2026-03-01&to=2026-03-08".into(), 0),
        ("persona=nobody".into(), 0),
    ] {
        let found = ids(&world, &format!("/ui/runs.json?{filter}")).await;
        assert_eq!(found.len(), expected, "{filter}");
        let page = good_page(&world, &format!("/ui/runs?lang=en&{filter}")).await;
        let rows = attributes(&page, "href");
        let rows = rows.iter().filter(|href| all.iter().any(|id| href.contains(&**id)));
        assert_eq!(rows.count(), expected, "{filter}");
        assert_eq!(page.contains("No run fits."), expected == 0);
    }
    // The form shows what was asked for, so that it can be changed.
    let page = good_page(&world, &format!("/ui/runs?persona={persona}&outcome=done&days=28")).await;
    assert!(page.contains("name=\"persona\" value=\"persona.ben\""), "{page}");
    assert!(page.contains("<option value=\"done\" selected>"));
    assert!(page.contains("<option value=\"28\" selected>"));
    for (filter, name) in [
        ("outcome=x", "outcome"),
        ("deployment=x", "deployment"),
        ("before=x", "before"),
        ("after=1", "after"),
        ("days=0", "days"),
        ("from=2026-03-09&to=2026-03-08", "to"),
    ] {
        let (status, body) = world.call(Method::GET, &format!("/ui/runs.json?{filter}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{filter}");
        assert!(body["error"].as_str().unwrap().contains(name), "{body}");
    }
}

#[tokio::test]
async fn a_long_list_is_read_in_parts_forth_and_back() {
    let names: Vec<_> = (0..60).map(|n| format!("p{n:02}")).collect();
    let world = Setup::many(&names).idle().var("PERSONA_CONCURRENCY", 20).start().await;
    world.good_tick().await;
    let newest = json_of(&world, "/ui/runs.json").await;
    let first = ids(&world, "/ui/runs.json").await;
    assert_eq!((first.len(), &newest["after"]), (50, &Value::Null));
    let before = newest["before"].as_str().unwrap();
    let second = ids(&world, &format!("/ui/runs.json?before={before}")).await;
    let all = [&*first, &*second].concat();
    let mut sorted = all.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((all.len(), &all), (60, &sorted));

    let page = good_page(&world, "/ui/runs?outcome=done").await;
    assert!(
        page.contains(&format!("rel=\"next\" href=\"/ui/runs?outcome=done&amp;before={before}\""))
    );
    assert!(!page.contains("rel=\"prev\""));
    assert!(page.len() < 60_000, "{}", page.len());
    let last = good_page(&world, &format!("/ui/runs?outcome=done&before={before}")).await;
    assert!(!last.contains("rel=\"next\""));
    let after = &second[0];
    assert!(
        last.contains(&format!("rel=\"prev\" href=\"/ui/runs?outcome=done&amp;after={after}\""))
    );
    assert_eq!(ids(&world, &format!("/ui/runs.json?after={after}")).await, first);
}

#[tokio::test]
async fn a_run_in_flight_is_shown_as_far_as_it_has_come() {
    let world = Setup::one(&["habits"]).start().await;
    script(&world);
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, second);
    drop(world.begin_tick());
    world
        .journal_reaches("the second request", async |journal| {
            let run = journal.latest_runs(1).await.unwrap().pop();
            let Some(run) = run else { return false };
            let steps = journal.steps(run.id).await.unwrap();
            steps.iter().filter(|step| step.body.starts_with("{\"asking\"")).count() == 2
        })
        .await;
    let list = good_page(&world, "/ui/runs?lang=en&outcome=running").await;
    assert!(list.contains("persona.anna") && list.contains("running"));
    let run = ids(&world, "/ui/runs.json?outcome=running").await.pop().unwrap();
    let page = good_page(&world, &format!("/ui/runs/{run}?lang=en")).await;
    assert_eq!(attributes(&page, "data-live-run"), [&*run]);
    assert!(page.contains("The run is under way") && page.contains("has not answered yet"));
    let call = page.split_once(" id=\"call-1\"").unwrap().1;
    assert!(call.contains("habits.list") && call.contains(">ok<"), "{call}");
    let value = json_of(&world, &format!("/ui/runs/{run}.json")).await;
    assert_eq!(value["run"]["state"], "running");
    assert_eq!(value["run"]["calls"], 1);
}

#[tokio::test]
async fn a_run_whose_steps_were_deleted_shows_what_is_kept_and_leads_to_its_neighbours() {
    let mut world = Setup::one(&["habits"]).start().await;
    script(&world);
    world.good_tick().await;
    let old = ids(&world, "/ui/runs.json").await.pop().unwrap();
    world.stop().await;
    world.advance(Duration::from_secs(40 * 24 * 3_600));
    world.start_again(&[]).await;
    script(&world);
    world.good_tick().await;
    world
        .journal_reaches("the deletion of old steps", async |journal| {
            let runs = journal.latest_runs(9).await.unwrap();
            runs.iter().any(|run| run.persona.is_none())
        })
        .await;
    let page = good_page(&world, &format!("/ui/runs/{old}?lang=en")).await;
    assert!(page.contains("older than JOURNAL_RETENTION_DAYS and deleted"), "{page}");
    assert!(page.contains("id=\"call-2\"") && page.contains("id=\"rating-habits\""));
    assert!(!page.contains("Bis morgen!"));
    let new = ids(&world, "/ui/runs.json").await.remove(0);
    assert!(page.contains(&format!("rel=\"next\" href=\"/ui/runs/{new}?lang=en\"")), "{page}");
    let newer = good_page(&world, &format!("/ui/runs/{new}")).await;
    assert!(newer.contains(&format!("rel=\"prev\" href=\"/ui/runs/{old}\"")));
    assert!(newer.contains("Bis morgen!") && !newer.contains("rel=\"next\""));
    let call = good_page(&world, &format!("/ui/runs/{old}/calls/1?lang=en")).await;
    assert!(call.contains("Input and result are too old and deleted."));
}
