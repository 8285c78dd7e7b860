use std::{collections::BTreeSet, sync::Arc};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::{sample::world, *};
use crate::{
    domain::{Cause, Label, Next, UnratedWhy, WhyNotRun},
    facts::{
        coverage::{DayStatus, ModuleStatus, WhyNotTested},
        detect::Detector,
        state::State,
        window::Days,
        world::World,
    },
    report::sample::WEEK,
};

/// The published schema.
struct Schema {
    schema: Value,
    compiled: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn read() -> Self {
        let path = format!("{}/docs/schema/report-v1.json", env!("CARGO_MANIFEST_DIR"));
        let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let location = schema["$id"].as_str().unwrap().to_owned();
        let (mut compiled, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler.add_resource(&location, schema.clone()).unwrap();
        let index = compiler.compile(&location, &mut compiled);
        let index = index.unwrap_or_else(|error| panic!("{error:#}"));
        Self { schema, compiled, index }
    }

    fn allows(&self, report: &Value) -> Result<(), String> {
        let checked = self.compiled.validate(report, self.index);
        checked.map_err(|error| format!("{error:#}"))
    }

    /// The words at this place of the schema.
    fn words(&self, pointer: &str) -> Vec<&str> {
        let words = self.schema.pointer(pointer).and_then(Value::as_array);
        words.unwrap_or_else(|| panic!("{pointer}")).iter().filter_map(Value::as_str).collect()
    }
}

fn json(window: &Window) -> Value {
    let text = Document::new(window, Language::German).text(Form::Json);
    assert!(text.ends_with("}\n"));
    serde_json::from_str(&text).unwrap()
}

/// More personas than the grid has rows.
fn crowd() -> World {
    let mut world = world();
    for n in 0..60 {
        world.run(&format!("{n:02}"), 8, [crate::facts::world::ok("todo.list")]);
    }
    world
}

#[test]
fn each_report_is_one_of_the_published_schema() {
    let schema = Schema::read();
    for window in [
        world().days(WEEK),
        crowd().days(WEEK),
        World::default().days(Days::LastWeek),
        World::default().days(WEEK),
    ] {
        let report = json(&window);
        schema.allows(&report).unwrap_or_else(|error| panic!("{error}\n{report:#}"));
    }
    for (name, text) in [("week", sample::week()), ("hostile", sample::hostile())] {
        let document = Document::of(&text, Language::German);
        let report = serde_json::to_value(document.json()).unwrap();
        // The quotes of a window are cut; these are not.
        if name == "week" {
            schema.allows(&report).unwrap();
        } else {
            assert!(schema.allows(&report).unwrap_err().contains("240"));
        }
    }
}

#[test]
fn the_schema_allows_no_other_property_and_none_to_be_missing() {
    let schema = Schema::read();
    let report = json(&world().days(WEEK));
    for pointer in [
        "",
        "/window",
        "/fleet",
        "/deployments/0",
        "/frictions/0",
        "/frictions/0/share",
        "/frictions/0/quote",
        "/frictions/0/firstSeen",
        "/changes",
        "/changes/tools",
        "/modules/2",
        "/modules/2/rating",
        "/modules/2/rating/delta",
        "/missing/0",
        "/notTested/0",
        "/coverage/0",
        "/coverage/0/days/0",
        "/reliability",
        "/reliability/lambda",
        "/reliability/tooKind",
        "/reliability/unrated",
        "/cost",
    ] {
        let mut other = report.clone();
        let object = other.pointer_mut(pointer).and_then(Value::as_object_mut);
        let object = object.unwrap_or_else(|| panic!("{pointer}: {report:#}"));
        object.insert("further".to_owned(), json!(1));
        assert!(schema.allows(&other).is_err(), "a further property of {pointer}");
        let keys: Vec<_> = report.pointer(pointer).unwrap().as_object().unwrap().keys().collect();
        for key in keys {
            let mut less = report.clone();
            less.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
            assert!(schema.allows(&less).is_err(), "{pointer} without {key}");
        }
    }
}

#[test]
fn the_schema_has_all_words() {
    fn all<L: Label>(but: &[L]) -> Vec<&'static str> {
        let others =
            L::ALL.iter().filter(|label| but.iter().all(|it| it.as_str() != label.as_str()));
        others.map(|label| label.as_str()).collect()
    }
    let schema = Schema::read();
    let mut detectors = all::<Detector>(&[]);
    let pointer = "/$defs/friction/properties/detector/enum";
    let mut listed = schema.words(pointer);
    detectors.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, detectors);
    let is_pain = |word: &&str| Cause::parse(word).is_some_and(Cause::is_pain);
    let causes: Vec<_> = all::<Cause>(&[]).into_iter().filter(is_pain).collect();
    for (pointer, words) in [
        ("/$defs/friction/properties/state/enum", all(&[State::Muted])),
        ("/$defs/friction/properties/cause/enum", causes),
        ("/$defs/friction/properties/next/propertyNames/enum", all::<Next>(&[])),
        ("/$defs/module/properties/status/enum", all::<ModuleStatus>(&[])),
        (
            "/properties/fleet/properties/notRun/items/properties/why/enum",
            all(&[WhyNotRun::SlotUsed]),
        ),
        ("/properties/notTested/items/oneOf/0/properties/why/enum", all::<WhyNotTested>(&[])),
        (
            "/properties/coverage/anyOf/0/items/properties/days/items/properties/status/enum",
            all::<DayStatus>(&[]),
        ),
        (
            "/properties/reliability/properties/unrated/properties/why/propertyNames/enum",
            all::<UnratedWhy>(&[]),
        ),
    ] {
        assert_eq!(schema.words(pointer), words, "{pointer}");
    }
}

#[test]
fn only_the_sentence_of_the_json_depends_on_the_language() {
    let window = world().days(WEEK);
    let reports = [Language::German, Language::English].map(|language| {
        let document = Document::new(&window, language);
        let mut report: Value = serde_json::from_str(&document.text(Form::Json)).unwrap();
        assert_eq!(report["sentence"].take(), json!(document.sentence()));
        report
    });
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn each_quoted_run_is_named_once_those_of_the_heaviest_friction_first() {
    let window = world().days(WEEK);
    let document = Document::new(&window, Language::German);
    let runs = document.quoted_runs();
    let report = json(&window);
    assert_eq!(runs.first().copied(), report["frictions"][0]["quote"]["run"].as_str());
    assert_eq!(BTreeSet::from_iter(&runs).len(), runs.len(), "{runs:?}");
    let hostile = || {
        let mut report = sample::hostile();
        for (friction, n) in report.frictions.iter_mut().zip(0..) {
            let friction = Arc::make_mut(friction);
            friction.quote.as_mut().unwrap().run = format!("run-{}", n / 2 % 100);
        }
        report
    };
    let named = |report: Report| Document::of(&report, Language::German).quoted_runs().len();
    // 100 runs of frictions and one that all modules quote.
    assert_eq!(named(hostile()), 101);
    let mut more = hostile();
    for (friction, n) in more.frictions.iter_mut().zip(0..) {
        Arc::make_mut(friction).quote.as_mut().unwrap().run = format!("run-{n}");
    }
    assert_eq!(named(more), QUOTED_RUNS);
}
