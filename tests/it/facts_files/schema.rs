//! The JSON Schemas of docs/schema.

use boon::{Compiler, SchemaIndex};
use serde_json::Value;

/// The compiled schemas.
pub(crate) struct Schemas {
    compiled: boon::Schemas,
    facts: SchemaIndex,
    frictions: SchemaIndex,
    compare: SchemaIndex,
    report: SchemaIndex,
}

impl Schemas {
    /// Reads and compiles the files.
    pub(crate) fn read() -> Self {
        let mut compiled = boon::Schemas::new();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        let schema = |name: &str| {
            let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let location = schema["$id"].as_str().unwrap().to_owned();
            compiler.add_resource(&location, schema).unwrap();
            compiler.compile(&location, &mut compiled).unwrap_or_else(|error| panic!("{error:#}"))
        };
        let [facts, frictions, compare, report] =
            ["facts-v1", "frictions-v1", "compare-v1", "report-v1"].map(schema);
        Self { compiled, facts, frictions, compare, report }
    }

    /// Checks the lines of an export.
    pub(crate) fn facts(&self, lines: &[Value]) {
        lines.iter().for_each(|line| self.check(line, self.facts));
    }

    /// Checks what `frictions --format json` has printed.
    pub(crate) fn frictions(&self, answer: &Value) {
        self.check(answer, self.frictions);
    }

    /// Checks what `compare --format json` has printed.
    pub(crate) fn compare(&self, answer: &Value) {
        self.check(answer, self.compare);
    }

    /// Checks what `report --format json` has printed.
    pub(crate) fn report(&self, answer: &Value) {
        self.check(answer, self.report);
    }

    fn check(&self, value: &Value, schema: SchemaIndex) {
        let checked = self.compiled.validate(value, schema);
        checked.unwrap_or_else(|error| panic!("{error:#}\n{value:#}"));
    }
}
