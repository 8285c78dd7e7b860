//! Modules, personas, the comparison and the stored reports on the page /ui, after eight days of ten personas for three of
//! whom a tool fails from the day of a deployment on.

mod pages;

use std::{collections::BTreeSet, time::Duration};

use devstack::{
    Options, catalog,
    claude::{ClaudeOptions, Manner, Rates},
    days,
    mcp::{PlantedFault, Shows},
};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::pages::{Reader, hrefs, texts_of};
use crate::{
    process::daemon::finish,
    support::{MONDAY, Setup, World, variable},
};

/// The days until the report of the first week is due, and one more.
const DAYS: i32 = 8;
/// The day on which the second build is deployed, from 1.
const DEPLOYED_ON: i32 = 5;
const TOOL: &str = "todo.complete";
/// The personas for whom it fails then.
const STRUCK: [&str; 3] = ["Ben", "Maya", "Tom"];
/// The week of the first seven days.
const WEEK: &str = "2026-W11";

fn day(number: i32) -> Date {
    let monday: jiff::Timestamp = MONDAY.parse().unwrap();
    monday.to_zoned(TimeZone::UTC).date() + (number - 1).days()
}

async fn lived() -> World {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let setup = Setup::catalog().peers(|peers| *peers = Options { claude, ..Options::default() });
    let setup = setup.var("PERSONA_CONCURRENCY", 10).var("BUDGET_DAILY_USD", 1000);
    let world = setup.start().await;
    world.peers.claude.served.recorder.turn_off();
    days::offer_what_is_liked(&world.peers.mcp).unwrap();
    let fault = PlantedFault::new("fault", Shows::Text("Task {uuid} is locked".into()));
    let struck = STRUCK.map(|name| format!("persona.{}@mana.test", name.to_lowercase()));
    world.peers.mcp.plant(fault.at([TOOL]).befalls(struck).from(day(DEPLOYED_ON)));
    for persona in catalog::personas() {
        let manner = Manner { rates: Rates::Experience, repeats: 30, ..Manner::default() };
        world.peers.claude.set_manner(&persona.system_prompt, manner);
    }
    for number in 1..=DAYS {
        if number == 1 || number == DEPLOYED_ON {
            release(&world, &format!("build <{number}>")).await;
        }
        world.good_tick().await;
        // mana-mcp limits the calls of a minute.
        world.advance(Duration::from_mins(1));
        world.clock.advance(Duration::from_hours(24));
        world.peers.clock.step_day();
    }
    world
}

async fn release(world: &World, version: &str) {
    let key = variable(&world.peers, "MANA_SERVICE_KEY").to_owned();
    let request = crate::support::client().post(format!("{}/control/release", world.url));
    let request = request.header("x-service-key", key).header("content-type", "application/json");
    let answer = request.body(json!({"version": version}).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// What the compiled command line prints about the journal of the daemon.
async fn printed(world: &World, arguments: &[&str]) -> String {
    let folder = ("RUNNER_DATA_DIR".into(), world.peers.data_folder().into());
    let ended = finish([folder], arguments).await;
    assert!(ended.stderr.is_empty(), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

#[tokio::test]
async fn modules_personas_comparisons_and_reports_are_shown_as_the_command_line_tells_them() {
    // One test, because living the days takes long.
    let mut world = lived().await;
    let reader = Reader::of(&world);
    the_json_of_modules_is_that_of_the_report(&world, &reader).await;
    every_module_of_the_catalog_appears(&reader).await;
    the_json_of_the_comparison_is_what_the_command_prints(&world, &reader).await;
    ratings_are_filtered_and_come_in_parts(&reader).await;
    personas_are_found_by_their_names(&reader).await;
    a_stored_report_has_its_own_policy(&world, &reader).await;
    what_is_not_there_is_not_found_and_what_is_not_readable_is_named(&reader).await;
    all_links_lead_somewhere(&reader).await;
    drop(reader);
    world.stop().await;
}

async fn the_json_of_modules_is_that_of_the_report(world: &World, reader: &Reader) {
    let all = reader.json("/ui/modules.json").await;
    let window = |name: &str| all["window"][name].as_str().unwrap().to_owned();
    let (from, to) = (window("from"), window("to"));
    let arguments = ["report", "--from", &from, "--to", &to, "--format", "json"];
    let report: Value = serde_json::from_str(&printed(world, &arguments).await).unwrap();
    assert_eq!(all["modules"], report["modules"]);
    let todo = reader.json("/ui/modules/todo.json").await;
    let of_report = report["modules"].as_array().unwrap().iter().find(|it| it["module"] == "todo");
    assert_eq!(Some(&todo["module"]), of_report);
    // The grid counts each run of the days in one of its weeks.
    let weeks = todo["byWeek"].as_array().unwrap().iter();
    let runs: u64 = weeks.filter_map(|week| week["runs"].as_u64()).sum();
    assert_eq!(json!(runs), todo["module"]["runs"]);
}

async fn every_module_of_the_catalog_appears(reader: &Reader) {
    let all = reader.json("/ui/modules.json").await;
    let modules = all["modules"].as_array().unwrap();
    let page = reader.page("/ui/modules").await;
    let heat = page.split("class=\"heat\"").nth(1).unwrap().split("</table>").next().unwrap();
    for module in modules {
        let name = module["module"].as_str().unwrap();
        let link = format!("href=\"/ui/modules/{name}\"");
        assert_eq!(page.matches(&link).count(), 2, "{name}");
        assert!(heat.contains(&link), "{name}");
    }
    for (status, word) in [
        ("unused", "nicht benutzt"),
        ("used", "nicht bewertet"),
        ("too-few", "zu wenig"),
        ("not-offered", "nicht angeboten"),
    ] {
        let is_there = modules.iter().any(|module| module["status"] == status);
        assert!(!is_there || page.contains(word), "{status}");
    }
}

async fn the_json_of_the_comparison_is_what_the_command_prints(world: &World, reader: &Reader) {
    for (query, sides) in [("", &[][..]), ("?a=D-1&b=D-2", &["D-1", "D-2"][..])] {
        let printed = printed(world, &[&["compare", "--format", "json"], sides].concat()).await;
        let answer = reader.get(&format!("/ui/compare.json{query}")).await;
        assert_eq!((answer.status, &*answer.text), (StatusCode::OK, &*printed));
    }
    let english = printed(world, &["compare"]).await;
    let page = reader.page("/ui/compare?lang=en").await;
    let sentence = format!("{}.", english.lines().next().unwrap());
    assert_eq!(texts_of(&page, "h1"), [sentence.replace('<', "&lt;").replace('>', "&gt;")]);
}

async fn ratings_are_filtered_and_come_in_parts(reader: &Reader) {
    let all = reader.all_items("/ui/modules/todo?lang=en").await;
    let todo = reader.json("/ui/modules/todo.json").await;
    assert_eq!(todo["hasOlder"], all.len() > 50, "{} ratings", all.len());
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an item is shown twice");
    let low = reader.all_items("/ui/modules/todo?lang=en&rating=1").await;
    assert!(!low.is_empty() && low.iter().all(|item| item.contains("Rating 1")), "{low:#?}");
    assert_eq!(low.len(), all.iter().filter(|item| item.contains("Rating 1<")).count());
    let of_ben = reader.all_items("/ui/modules/todo?lang=en&persona=persona.ben").await;
    assert!(!of_ben.is_empty() && of_ben.iter().all(|item| item.contains(">persona.ben<")));
    // A rating leads to the calls that it rests on.
    let call = hrefs(&low[0]).into_iter().find(|it| it.contains("#call-")).unwrap();
    let (run, anchor) = call.split_once('#').unwrap();
    assert!(reader.page(run).await.contains(&format!("id=\"{anchor}\"")), "{call}");
}

async fn personas_are_found_by_their_names(reader: &Reader) {
    let all = reader.json("/ui/personas.json").await;
    assert_eq!(all["personas"].as_array().unwrap().len(), 10);
    let found = reader.json("/ui/personas.json?q=BEN").await;
    let found = found["personas"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["label"]), (1, &json!("persona.ben")));
    let id = found[0]["id"].as_str().unwrap();
    let of_ben = reader.json(&format!("/ui/personas/{id}.json")).await;
    assert_eq!(of_ben["summary"], found[0]);
    assert_eq!(of_ben["runs"].as_array().unwrap().len(), DAYS as usize);
    let page = reader.page(&format!("/ui/personas/{id}")).await;
    assert_eq!(texts_of(&page, "h1"), ["persona.ben"]);
    let prompt = catalog::personas().into_iter().find(|it| it.name == "Ben").unwrap().system_prompt;
    assert!(page.contains(prompt.split(['.', '"', '<', '&']).next().unwrap()), "the prompt");
}

async fn a_stored_report_has_its_own_policy(world: &World, reader: &Reader) {
    let week = WEEK.parse().unwrap();
    world
        .journal_reaches("the report", async |journal| {
            journal.report(week).await.unwrap().is_some()
        })
        .await;
    let stored = world.journal().await.report(week).await.unwrap().unwrap();
    let html = reader.get(&format!("/ui/reports/{WEEK}.html")).await;
    assert_eq!((html.status, &html.text), (StatusCode::OK, &stored.html));
    let meta = stored.html.split("Content-Security-Policy\" content=\"").nth(1).unwrap();
    let policy = format!("{}; frame-ancestors 'none'", meta.split('"').next().unwrap());
    assert!(policy.contains("'sha256-"), "{policy}");
    assert_eq!(html.header("content-security-policy"), policy);
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    let markdown = reader.get(&format!("/ui/reports/{WEEK}.md")).await;
    assert_eq!(
        (markdown.text.as_str(), markdown.header("content-type")),
        (stored.markdown.as_str(), "text/markdown; charset=utf-8")
    );
    let data = reader.get(&format!("/ui/reports/{WEEK}.json")).await;
    assert_eq!(
        (data.text.as_str(), data.header("content-type")),
        (stored.json.as_str(), "application/json")
    );
    for answer in [&html, &markdown, &data] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert!(reader.page("/ui/reports").await.contains(WEEK));
}

async fn what_is_not_there_is_not_found_and_what_is_not_readable_is_named(reader: &Reader) {
    for path in [
        "/ui/modules/none",
        "/ui/personas/nobody",
        "/ui/reports/2020-W01.html",
        "/ui/reports/2020-W01.md",
        "/ui/reports/2026-W11",
        "/ui/reports/2026-W11.pdf",
        "/ui/reports/x.html",
    ] {
        let answer = reader.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(texts_of(&answer.text, "h1"), ["Nicht gefunden"], "{path}");
    }
    for path in ["/ui/modules/none.json", "/ui/personas/nobody.json", "/ui/reports/2020-W01.json"] {
        let answer = reader.get(path).await;
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!((answer.status, &body["ok"]), (StatusCode::NOT_FOUND, &json!(false)), "{path}");
    }
    for path in [
        "/ui/modules?page=0",
        "/ui/modules/todo?rating=9",
        "/ui/modules/todo?before=x",
        "/ui/compare?verdict=x",
        "/ui/compare?a=%3Cb%3E",
        "/ui/compare?a=2026-03-12..2026-03-09",
        "/ui/compare?a=D-2&b=D-2",
        "/ui/personas?days=0",
    ] {
        let answer = reader.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(!answer.text.contains("<b>"), "{path}");
    }
    let refused = reader.get("/ui/compare.json?a=none").await;
    let body: Value = serde_json::from_str(&refused.text).unwrap();
    assert_eq!((refused.status, &body["ok"]), (StatusCode::BAD_REQUEST, &json!(false)));
}

async fn all_links_lead_somewhere(reader: &Reader) {
    let personas = reader.json("/ui/personas.json").await;
    let persona = format!("/ui/personas/{}", personas["personas"][0]["id"].as_str().unwrap());
    let from =
        ["/ui/modules", "/ui/modules/todo", "/ui/personas", &persona, "/ui/compare", "/ui/reports"];
    let mut links = BTreeSet::new();
    for path in from {
        let page = reader.page(path).await;
        assert_eq!(texts_of(&page, "h1").len(), 1, "{path}");
        assert!(!page.contains(" style=\"") && !page.contains("<b>"), "{path}");
        assert!(page.len() <= 60_000, "{path}: {} bytes", page.len());
        links.extend(hrefs(&page).into_iter().map(|it| it.split('#').next().unwrap().to_owned()));
    }
    for link in links.iter().filter(|link| link.starts_with("/ui")) {
        assert_eq!(reader.get(link).await.status, StatusCode::OK, "{link}");
    }
}
