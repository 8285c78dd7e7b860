//! `ops/METRICS.md` lists every metric as the code declares it. `INSTA_UPDATE=always` rewrites the file.

use std::{fmt::Write, fs};

use mana_persona_runner::metrics::{Family, Metrics, Values};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/METRICS.md");

const HEAD: &str = "\
# Metrics

What `GET /metrics` exposes. Written by a test from the declarations in `src/metrics*`; do not edit it, run
`INSTA_UPDATE=always cargo test --test it metrics_table`.

Counters grow from 0 at each start, so look at `rate` or `increase`. A family whose labels are all bold has
every series from the start; of the others, the combinations that can be foreseen are there, and further ones
appear with their first use.

";

fn row(table: &mut String, name: &str, kind: &str, labels: &str, help: &str) {
    writeln!(table, "| `{name}` | {kind} | {labels} | {} |", help.replace('|', "\\|")).unwrap();
}

fn labels(family: &Family) -> String {
    let quoted = |values: &[&str]| {
        values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
    };
    let labels = family.labels.iter().map(|(name, values)| match values {
        Values::Closed(values) => format!("**{name}**: {}", quoted(&values())),
        Values::Known(values) => format!("{name}: {}", quoted(&values())),
        Values::Bounded(how) => format!("{name}: {how}"),
    });
    labels.collect::<Vec<_>>().join("; ")
}

/// The families of the process collector, which have their own descriptions.
fn process_families(exposition: &str) -> Vec<(String, String, String)> {
    let described = |kind: &str, name: &str| {
        let line = format!("# {kind} {name} ");
        let text = exposition.lines().find_map(|l| l.strip_prefix(&line)).expect("a description");
        text.to_owned()
    };
    let names = exposition.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
        name.starts_with("process_").then(|| name.to_owned())
    });
    names.map(|name| (described("TYPE", &name), described("HELP", &name), name)).collect()
}

#[test]
fn the_table_of_metrics_is_what_the_code_declares() {
    let metrics = Metrics::new("0").unwrap();
    let mut table = HEAD.to_owned();
    table.push_str("| name | type | labels | what it counts, and what a change means |\n");
    table.push_str("|---|---|---|---|\n");
    for family in metrics.families() {
        row(&mut table, &family.name, family.kind, &labels(family), family.help);
    }
    table.push_str("\nOf the process, by the metrics library:\n\n");
    table.push_str("| name | type | labels | what it says |\n|---|---|---|---|\n");
    for (kind, help, name) in process_families(&metrics.render().unwrap()) {
        row(&mut table, &name, &kind, "", &help);
    }
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(PATH, &table).unwrap();
    }
    let written = fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == table, "ops/METRICS.md is stale; INSTA_UPDATE=always writes it anew");
}
