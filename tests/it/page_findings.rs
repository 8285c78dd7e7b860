//! The first page and the pages of frictions, of a daemon whose personas have lived some days with a fault of the
//! product: they say what the command line says, and all their links lead somewhere.

use std::{collections::BTreeSet, time::Duration};

use devstack::{
    catalog, days,
    mcp::{PlantedFault, Shows},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    process::daemon::{Finished, finish},
    support::{Setup, World, client, patiently},
};

const TOOL: &str = "todo.complete";
const STRUCK: [&str; 3] = ["Ben", "Maya", "Tom"];
const DAYS: usize = 4;
/// The first and the last day.
const WINDOW: [&str; 2] = ["2026-03-09", "2026-03-12"];

async fn lived() -> World {
    let world = Setup::catalog().var("PERSONA_CONCURRENCY", 10).start().await;
    days::offer_what_is_liked(&world.peers.mcp).unwrap();
    let text = "Task {uuid} \"<b>{title}</b>\" could not be completed at {time}";
    let struck = STRUCK.map(|name| format!("persona.{}@mana.test", name.to_lowercase()));
    let fault = PlantedFault::new("fault", Shows::Text(text.into()));
    world.peers.mcp.plant(fault.at([TOOL]).befalls(struck));
    let random = Shows::Text("Something went wrong, please try again".into());
    world.peers.mcp.plant(PlantedFault::new("random", random).sometimes(8));
    assert!(catalog::personas().len() >= 10);
    for day in 1..=DAYS {
        world.good_tick().await;
        if day < DAYS {
            world.advance(Duration::from_mins(24 * 60 + 1));
        }
    }
    world
}

/// Runs the command line on the journal of the daemon.
async fn ask(world: &World, arguments: &[&str]) -> String {
    let data_dir = ("RUNNER_DATA_DIR".into(), world.peers.data_folder().into());
    let Finished { code, stdout, stderr } = finish([data_dir], arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

async fn get(world: &World, path: &str) -> (StatusCode, String) {
    let response = patiently(path, client().get(format!("{}{path}", world.url)).send());
    let response = response.await.unwrap();
    let status = response.status();
    (status, patiently(path, response.text()).await.unwrap())
}

async fn page(world: &World, path: &str) -> String {
    let (status, text) = get(world, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    text
}

/// The addresses of links below /ui, without what no link should lead to twice.
fn links(page: &str) -> BTreeSet<String> {
    let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let below = links.filter(|link| link.starts_with("/ui"));
    below.map(|link| link.replace("&amp;", "&")).collect()
}

/// The ids of the frictions that a page lists, in order.
fn listed(page: &str) -> Vec<&str> {
    let items = page.split("<li data-item").skip(1);
    items.filter_map(|item| item.split("class=\"id\">").nth(1)?.split('<').next()).collect()
}

#[tokio::test]
async fn the_findings_of_four_days_are_those_of_the_command_line_and_lead_to_their_evidence() {
    // One test, because living the days takes long.
    let world = lived().await;
    let frictions = ask(&world, &["frictions", "--format", "json"]).await;
    let answer: Value = serde_json::from_str(&frictions).unwrap();
    let all: Vec<_> = answer["frictions"].as_array().unwrap().iter().collect();
    let fault = all.iter().find(|it| it["tool"] == TOOL && it["cause"] == "handler").unwrap();
    let id = fault["id"].as_str().unwrap();

    the_json_is_that_of_the_command_line(&world, &frictions).await;
    the_first_page_leads_to_the_call_that_proves_what_hurts(&world, id).await;
    a_filter_leaves_what_it_names(&world, &all).await;
    a_friction_has_its_evidence(&world, fault).await;
    what_does_not_exist_is_said(&world).await;
    a_muted_one_comes_last_with_its_reason(&world, id).await;
    each_link_leads_somewhere(&world, id).await;
}

async fn the_json_is_that_of_the_command_line(world: &World, frictions: &str) {
    assert_eq!(page(world, "/ui/frictions.json").await, frictions);
    assert_eq!(page(world, "/ui/frictions.json?state=resolved&page=7").await, frictions);
    let [from, to] = WINDOW;
    for lang in ["de", "en"] {
        let arguments = ["report", "--from", from, "--to", to, "--format", "json", "--lang", lang];
        let report = ask(world, &arguments).await;
        let path = format!("/ui.json?from={from}&to={to}&lang={lang}");
        assert_eq!(page(world, &path).await, report);
    }
}

async fn the_first_page_leads_to_the_call_that_proves_what_hurts(world: &World, id: &str) {
    let front = page(world, "/ui").await;
    assert_eq!(front.matches("<h1>").count(), 1);
    assert!(!front.contains("style=\"") && !front.contains("<b>"), "{front}");
    assert!(links(&front).contains(&format!("/ui/frictions/{id}")), "{front}");
    let calls = links(&front).into_iter().filter(|link| link.contains("#call-"));
    let call = calls.into_iter().next().expect("a link to a call");
    let (run, anchor) = call.split_once('#').unwrap();
    assert!(page(world, run).await.contains(&format!("id=\"{anchor}\"")), "{call}");
}

async fn a_filter_leaves_what_it_names(world: &World, all: &[&Value]) {
    let whole = page(world, "/ui/frictions").await;
    let ids = |is: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let named = all.iter().filter(|it| is(it));
        named.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&whole), ids(&|_| true));
    let state = all[0]["state"].as_str().unwrap();
    let persona = all[0]["personas"][0].as_str().unwrap();
    let has = |list: &Value, what: &str| list.as_array().unwrap().iter().any(|it| it == what);
    for (query, expected) in [
        (format!("tool={TOOL}"), ids(&|it| it["tool"] == TOOL)),
        ("module=todo".to_owned(), ids(&|it| it["module"] == "todo")),
        (format!("state={state}"), ids(&|it| it["state"] == state)),
        ("detector=fails".to_owned(), ids(&|it| has(&it["detectors"], "fails"))),
        (format!("persona={persona}"), ids(&|it| has(&it["personas"], persona))),
        ("tool=no.such&lang=en".to_owned(), vec![]),
        ("muted=1".to_owned(), vec![]),
        ("muted=0&state=&module=".to_owned(), ids(&|_| true)),
    ] {
        assert_eq!(
            listed(&page(world, &format!("/ui/frictions?{query}")).await),
            expected,
            "{query}"
        );
    }
    let beyond = page(world, "/ui/frictions?page=99").await;
    assert_eq!(listed(&beyond), Vec::<&str>::new());
}

async fn a_friction_has_its_evidence(world: &World, fault: &Value) {
    let id = fault["id"].as_str().unwrap();
    let shown = page(world, &format!("/ui/frictions/{id}")).await;
    assert_eq!(shown.matches("<h1>").count(), 1);
    let template = fault["template"].as_str().unwrap().replace('<', "&lt;").replace('>', "&gt;");
    assert!(shown.contains(&template.replace('"', "&quot;")), "{template} in {shown}");
    assert!(shown.contains(&format!("frictions mute {id} --until 2026-03-26 ")), "{shown}");
    assert_eq!(links(&shown).iter().filter(|link| link.contains("/ui/personas/")).count(), 3);

    let json: Value =
        serde_json::from_str(&page(world, &format!("/ui/frictions/{id}.json")).await).unwrap();
    assert_eq!(&json["friction"], fault);
    let runs: u64 =
        json["personas"].as_array().unwrap().iter().filter_map(|it| it["runs"].as_u64()).sum();
    assert_eq!(json!(runs), fault["runs"]);
    let hits: f64 = json["hitsByDay"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert_eq!(hits, runs as f64);
    let samples = json["samples"].as_array().unwrap();
    assert!(
        !samples.is_empty() && samples.iter().all(|it| it["tool"] == TOOL && it["ok"] == false)
    );
    for sample in samples {
        let link = format!("/ui/runs/{}#call-{}", sample["run"].as_str().unwrap(), sample["call"]);
        assert!(links(&shown).contains(&link), "{link}");
    }
    // In a window without a hit, an issue is known all the same.
    let before = page(world, &format!("/ui/frictions/{id}?from=2026-03-01&to=2026-03-02")).await;
    assert!(before.contains("In diesen Tagen hatte es kein Lauf"), "{before}");
}

async fn what_does_not_exist_is_said(world: &World) {
    for (path, expected, words) in [
        ("/ui/frictions/F-NONE", StatusCode::NOT_FOUND, "Nicht gefunden"),
        ("/ui/frictions/slow%3Ano.such", StatusCode::NOT_FOUND, "Nicht gefunden"),
        ("/ui/frictions/F-NONE.json", StatusCode::NOT_FOUND, "\"ok\":false"),
        ("/ui/frictions?state=bad", StatusCode::BAD_REQUEST, "state"),
        ("/ui/frictions?detector=bad", StatusCode::BAD_REQUEST, "detector"),
        ("/ui/frictions?muted=2", StatusCode::BAD_REQUEST, "muted"),
        ("/ui/frictions?page=0", StatusCode::BAD_REQUEST, "page"),
        ("/ui?days=0", StatusCode::BAD_REQUEST, "days"),
    ] {
        let (status, text) = get(world, path).await;
        assert_eq!(status, expected, "{path}");
        assert!(text.contains(words), "{path}: {text}");
    }
}

async fn a_muted_one_comes_last_with_its_reason(world: &World, id: &str) {
    let mute = ["frictions", "mute", id, "--until", "2026-03-20", "--reason", "<i>known</i>"];
    ask(world, &mute).await;
    let frictions = ask(world, &["frictions", "--format", "json"]).await;
    // The page is computed again: at first it may show what was before.
    patiently("the muted friction", async {
        while page(world, "/ui/frictions.json").await != frictions {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let shown = page(world, "/ui/frictions").await;
    assert_eq!(listed(&shown).last(), Some(&id));
    let told = "Stumm bis Fr 20.3.2026: &lt;i&gt;known&lt;/i&gt;";
    assert!(shown.contains(told), "{shown}");
    assert_eq!(listed(&page(world, "/ui/frictions?muted=1").await), [id]);
    let one = page(world, &format!("/ui/frictions/{id}")).await;
    assert!(one.contains(told) && one.contains(&format!("frictions unmute {id}")), "{one}");
}

async fn each_link_leads_somewhere(world: &World, id: &str) {
    let mut found = BTreeSet::new();
    for path in
        ["/ui?lang=en", "/ui/frictions", "/ui/frictions?days=2", &format!("/ui/frictions/{id}")]
    {
        found.extend(links(&page(world, path).await));
    }
    let frictions = links(&page(world, "/ui/frictions").await);
    for path in frictions.iter().filter(|link| link.starts_with("/ui/frictions/")) {
        found.extend(links(&page(world, path).await));
    }
    assert!(found.len() > 30, "{found:?}");
    for link in found {
        let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let text = page(world, path).await;
        assert!(anchor.is_empty() || text.contains(&format!("id=\"{anchor}\"")), "{link}");
    }
}
