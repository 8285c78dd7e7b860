//! The whole way from calls to frictions: ten personas live for fourteen days with the compiled daemon among devstack's
//! peers, whose calendar is stepped. One tool fails for three personas, among distractors. What the compiled command
//! line then says is compared with what devstack counted.

mod report;

use std::{collections::BTreeSet, time::Duration};

use devstack::{
    Devstack, Options, catalog,
    claude::{ClaudeOptions, LOUD_CALLS, Manner, Rates},
    days,
    mcp::{Call, PlantedFault, Shows, Toll},
};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::report::Reports;
use crate::{
    facts_files::{FactsFile, schema::Schemas},
    process::daemon::{Daemon, Finished, finish},
    support::{MONDAY, patiently, start_peers},
};

const DAYS: i32 = 14;
/// The tool that fails from the fifth day on.
const TOOL: &str = "todo.complete";
/// The personas for whom it fails.
const STRUCK: [&str; 3] = ["Ben", "Maya", "Tom"];
/// The persona that is loud in one run.
const LOUD: &str = "Lena";
/// The day on which mana-mcp is away for ten minutes, from 1: a Monday.
const OUTAGE_ON: i32 = 8;
/// A tool that the runner's policy never calls.
const DENIED: &str = "todo.clearDone";

/// What remains of the fourteen days.
struct Fortnight {
    /// The lines of the export.
    lines: Vec<Value>,
    /// `frictions` as text and as JSON, of the journal.
    printed: [String; 2],
    /// The same of the export.
    printed_of_export: [String; 2],
    /// Everything that reached a tool.
    calls: Vec<Call>,
    /// What `report` prints, in all forms.
    reports: Reports,
    fault: Toll,
    random: Toll,
    outage: Toll,
}

fn day(number: i32) -> Date {
    let monday: jiff::Timestamp = MONDAY.parse().unwrap();
    monday.to_zoned(TimeZone::UTC).date() + (number - 1).days()
}

fn email(name: &str) -> String {
    format!("persona.{}@mana.test", name.to_lowercase())
}

async fn live() -> Fortnight {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let options = Options { claude, folder_in_memory: true, ..Options::default() };
    let (peers, _) = start_peers(options, &catalog::personas()).await;
    // No test reads its requests, and they would fill the memory.
    peers.claude.served.recorder.turn_off();
    days::offer_what_is_liked(&peers.mcp).unwrap();
    plant(&peers);
    let vars = [("PERSONA_CONCURRENCY", "10".to_owned()), ("BUDGET_DAILY_USD", "1000".to_owned())];
    let daemon = Daemon::start(&peers, &vars).await;
    for day in 1..=DAYS {
        let tick = daemon.call(Method::POST, "/diag/tick");
        let (status, body) = match day == OUTAGE_ON {
            true => {
                let away = days::be_away(&peers, Duration::from_mins(10), 503, |_| {});
                tokio::join!(tick, patiently("the outage", away)).0
            }
            false => tick.await,
        };
        assert_eq!(status, StatusCode::OK, "day {day}: {body}");
        assert_eq!(body["result"]["failed"], json!([]), "day {day}");
        // A persona is due more than a day after its last run, and mana-mcp limits the calls of a minute.
        peers.clock.advance(Duration::from_mins(1));
        peers.clock.step_day();
    }
    assert_eq!(peers.claude.violations(), Vec::<String>::new());
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    told(&peers).await
}

/// Makes the product and its users bad in all the ways of this story.
fn plant(peers: &Devstack) {
    let text = "Task {uuid} \"{title}\" could not be completed at {time}";
    let fault = PlantedFault::new("fault", Shows::Text(text.into()));
    peers.mcp.plant(fault.at([TOOL]).befalls(STRUCK.map(email)).from(day(5)));
    let random = Shows::Text("Something went wrong, please try again".into());
    peers.mcp.plant(PlantedFault::new("random", random).sometimes(5));
    let schema = json!({"type": "object", "required": ["taskId", "title"],
        "properties": {"taskId": {"type": "string"}, "title": {"type": "string"}}});
    assert!(peers.mcp.set_schema(TOOL, schema.as_object().unwrap().clone()));
    let empty = json!({"type": "object", "properties": {}});
    let about = "Removes the completed tasks.";
    peers.mcp.add_tool(DENIED, about, empty.as_object().unwrap().clone());
    for persona in catalog::personas() {
        let manner = Manner {
            rates: Rates::Experience,
            repeats: 30,
            invents: 5,
            oversteps: 5,
            loud_on: (persona.name == LOUD).then_some(4),
            variety: usize::from(STRUCK.contains(&persona.name.as_str())),
        };
        peers.claude.set_manner(&persona.system_prompt, manner);
    }
}

/// Asks the command line, and devstack.
async fn told(peers: &Devstack) -> Fortnight {
    let ask = async |arguments: &[&str]| {
        let data_dir = ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
        let Finished { code, stdout, stderr } = finish([data_dir], arguments).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    };
    let export = ask(&["export"]).await;
    let file = FactsFile::of(export.as_bytes());
    Fortnight {
        lines: export.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        printed: [ask(&["frictions"]).await, ask(&["frictions", "--format", "json"]).await],
        printed_of_export: [file.answer(&[]).await, file.answer(&["--format", "json"]).await],
        reports: Reports::read(peers.data_folder(), file.path()).await,
        calls: peers.mcp.calls(),
        fault: peers.mcp.toll("fault"),
        random: peers.mcp.toll("random"),
        outage: peers.mcp.toll(days::OUTAGE),
    }
}

impl Fortnight {
    fn answer(&self) -> Value {
        serde_json::from_str(&self.printed[1]).unwrap()
    }

    fn frictions(&self) -> Vec<Value> {
        self.answer()["frictions"].as_array().unwrap().clone()
    }

    fn lines_of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(move |line| line["kind"] == kind)
    }

    /// The calls of the export that failed for this cause.
    fn failed(&self, cause: &str) -> Vec<&Value> {
        self.lines_of("call").filter(|call| call["cause"] == cause).collect()
    }
}

#[tokio::test]
async fn a_fault_that_hits_three_personas_among_distractors_is_the_first_friction() {
    // One test, because living the days takes long.
    let lived = live().await;
    the_fault_is_named_first_and_as_one_issue(&lived);
    its_numbers_are_those_that_the_product_counted(&lived);
    one_loud_persona_is_not_among_the_first_three(&lived);
    an_outage_and_invented_and_denied_calls_are_no_frictions(&lived);
    the_answer_is_that_of_four_weeks_and_the_same_from_an_export(&lived);
    report::names_the_fault_first_with_the_counts_of_the_frictions(&lived);
    report::is_the_same_each_time_in_each_zone_from_an_export_and_without_steps(&lived);
}

fn the_fault_is_named_first_and_as_one_issue(lived: &Fortnight) {
    let frictions = lived.frictions();
    let is_fault =
        |text: &Value| text.as_str().is_some_and(|text| text.contains("could not be completed"));
    let named: Vec<_> =
        (0..frictions.len()).filter(|n| is_fault(&frictions[*n]["template"])).collect();
    assert_eq!(named, [0], "{frictions:#?}");
    assert_eq!(lived.lines_of("issue").filter(|issue| is_fault(&issue["template"])).count(), 1);
    let first = &frictions[0];
    assert_eq!([&first["tool"], &first["module"], &first["cause"]], [TOOL, "todo", "handler"]);
    assert_eq!((&first["detector"], &first["state"]), (&json!("dead-end"), &json!("open")));
    let mut rows = lived.printed[0].lines().skip_while(|line| !line.starts_with("IMPACT"));
    let row = rows.nth(1).unwrap();
    for part in [&first["id"], &first["tool"], &first["template"]] {
        assert!(row.contains(part.as_str().unwrap()), "{part} in {row}");
    }
}

fn its_numbers_are_those_that_the_product_counted(lived: &Fortnight) {
    let Fortnight { calls, fault, .. } = lived;
    let first = &lived.frictions()[0];
    let label = |email: &String| email.trim_end_matches("@mana.test").to_owned();
    let personas: Vec<_> = fault.personas.iter().map(label).collect();
    assert_eq!(fault.personas, BTreeSet::from(STRUCK.map(email)), "{fault:?}");
    assert_eq!(first["personas"], json!(personas));
    let date = |at: jiff::Timestamp| at.to_zoned(TimeZone::UTC).date();
    let answered = calls.iter().filter(|call| call.tool == TOOL && call.is_error.is_some());
    let exposed: BTreeSet<_> = answered.map(|call| (&call.persona, date(call.at))).collect();
    let personas_exposed: BTreeSet<_> = exposed.iter().map(|(persona, _)| persona).collect();
    let counted = [fault.runs.len(), exposed.len(), personas_exposed.len(), fault.answered];
    let told = ["runs", "runsExposed", "personasExposed", "calls"];
    assert_eq!(told.map(|name| first[name].as_u64().unwrap() as usize), counted, "{told:?}");
    let seen = ["firstSeen", "lastSeen"].map(|seen| first[seen]["at"].as_str().unwrap());
    let seen = seen.map(|at| date(at.parse().unwrap()));
    assert_eq!(seen.map(Some), [fault.first, fault.last]);
    assert!(seen[0] >= day(5) && seen[1] <= day(DAYS), "{seen:?}");
    let next: u64 = first["next"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(
        next as usize, fault.answered,
        "each call was followed by something or was the last"
    );
}

fn one_loud_persona_is_not_among_the_first_three(lived: &Fortnight) {
    let rejected = lived.failed("rejected_input");
    let runs: BTreeSet<_> = rejected.iter().map(|call| call["run"].as_str().unwrap()).collect();
    assert_eq!((rejected.len(), runs.len()), (LOUD_CALLS, 1));
    let frictions = lived.frictions();
    assert!(frictions.len() > 3, "{frictions:#?}");
    for friction in &frictions[..3] {
        assert_ne!(friction["cause"], "rejected_input", "{friction:#}");
        assert!(friction["detector"].is_string(), "{friction:#}");
    }
    let of_loud = frictions.iter().filter(|friction| friction["cause"] == "rejected_input");
    let calls: u64 = of_loud.filter_map(|friction| friction["calls"].as_u64()).sum();
    assert_eq!(calls as usize, LOUD_CALLS, "they are listed all the same");
}

fn an_outage_and_invented_and_denied_calls_are_no_frictions(lived: &Fortnight) {
    assert!(lived.outage.calls >= 10, "{:?}", lived.outage);
    assert_eq!(lived.outage.first, Some(day(OUTAGE_ON)));
    assert_eq!(lived.outage.last, lived.outage.first);
    for cause in ["invented", "runner_policy"] {
        assert!(lived.failed(cause).len() > 5, "{cause}: {}", lived.failed(cause).len());
    }
    let denied = lived.failed("runner_policy");
    assert!(denied.iter().all(|call| call["tool"] == DENIED), "{denied:#?}");
    assert!(lived.random.calls > 20, "{:?}", lived.random);
    for friction in lived.frictions() {
        // A busy machine may be slow, which is a friction without a cause.
        let causes = [json!("handler"), json!("rejected_input"), Value::Null];
        assert!(causes.contains(&friction["cause"]), "{friction:#}");
        let detectors = friction["detectors"].as_array().unwrap();
        assert!(!detectors.iter().any(|it| it == "locked-out" || it == "unsure"), "{friction:#}");
        assert_ne!(friction["tool"], DENIED);
    }
    // Every error of a tool was planted.
    let handler = lived.failed("handler").len();
    assert_eq!(handler, lived.random.answered + lived.fault.answered);
}

fn the_answer_is_that_of_four_weeks_and_the_same_from_an_export(lived: &Fortnight) {
    let answer = lived.answer();
    let schemas = Schemas::read();
    schemas.frictions(&answer);
    schemas.facts(&lived.lines);
    assert_eq!(answer["schema"], "frictions/v1");
    assert_eq!(answer["window"], json!({"from": day(DAYS) - 27.days(), "to": day(DAYS)}));
    assert_eq!(answer["muted"], 0);
    assert_eq!(lived.printed_of_export, lived.printed);
}
