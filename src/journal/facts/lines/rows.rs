//! The lines of rows that belong to runs.

use std::str::FromStr;

use jiff::Timestamp;

use super::super::deployments;
use crate::{
    domain::{Cause, Label, Next, UnratedWhy, Usd},
    facts::line::{Call, Hit, Issue, Module, Run, Sighting, Tick, Tool},
    journal::Row,
};

type Result<T> = std::result::Result<T, String>;

fn time(row: &Row, column: &str) -> Result<Timestamp> {
    row.time(column).ok_or_else(|| format!("{column} is no time"))
}

/// A word of a list that may be absent.
fn word<L: Label>(row: &Row, column: &str) -> Result<Option<L>> {
    let Ok(word) = row.text(column) else { return Ok(None) };
    L::parse(&word).map(Some).ok_or_else(|| format!("{column} {word:?}"))
}

fn needed<L: Label>(row: &Row, column: &str) -> Result<L> {
    word(row, column)?.ok_or_else(|| format!("there is no {column}"))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn deployment(row: &Row, column: &str) -> Option<String> {
    row.number(column).map(deployments::id)
}

/// Numbers and words of a row, in one text with commas between them. As in a column of its own, a value that is no
/// number is read as 0; what is absent is empty.
struct Packed<'a>(&'a str);

impl<'a> Packed<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (next, rest) = self.0.split_once(',').unwrap_or((self.0, ""));
        self.0 = rest;
        (!next.is_empty()).then_some(next)
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    fn count<T: FromStr + Default>(&mut self) -> T {
        self.number().unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        self.count::<i64>() != 0
    }

    fn optional_time(&mut self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number()?).ok()
    }

    fn time(&mut self, name: &str) -> Result<Timestamp> {
        self.optional_time().ok_or_else(|| format!("{name} is no time"))
    }

    fn deployment(&mut self) -> Option<String> {
        self.number().map(deployments::id)
    }

    fn label<L: Label>(&mut self) -> Result<Option<L>> {
        let word = |word| L::parse(word).ok_or_else(|| format!("there is no word {word:?}"));
        self.next().map(word).transpose()
    }

    /// Splits the numbers off that come before a semicolon.
    fn list(&mut self) -> Result<Vec<u32>> {
        let (list, rest) = self.0.split_once(';').unwrap_or((self.0, ""));
        self.0 = rest;
        json(list)
    }

    /// The text at the end, after `=`; empty if it is absent.
    fn text(self) -> Option<String> {
        self.0.strip_prefix('=').map(str::to_owned)
    }
}

pub(super) fn run(row: &Row) -> Result<Run> {
    let text = |column: &str| row.text(column).ok();
    let packed = row.text("packed")?;
    let mut packed = Packed(&packed);
    let at = packed.time("server_at")?;
    // The end is stored by the clock of the daemon.
    let (started, ended) = (packed.optional_time(), packed.optional_time());
    let took = ended.zip(started).map(|(ended, started)| ended.duration_since(started));
    Ok(Run {
        id: row.text("id")?,
        persona: row.text("persona_id")?,
        at,
        ended_at: took.and_then(|took| at.checked_add(took).ok()),
        slot: text("slot"),
        server_time: packed.optional_time(),
        deployment: packed.deployment(),
        deployment_end: packed.deployment(),
        model: text("model"),
        effort: text("effort"),
        policy: text("policy"),
        runner: text("runner"),
        prompt: text("prompt"),
        catalog: text("catalog"),
        cost_usd: Usd::from_picodollars(packed.count()).dollars(),
        outcome: packed.label()?.ok_or("there is no outcome")?,
    })
}

pub(in crate::journal) fn call(row: &Row) -> Result<Call> {
    let packed = row.text("packed")?;
    let mut packed = Packed(&packed);
    Ok(Call {
        run: row.text("run_id")?,
        number: packed.count(),
        at: packed.time("at")?,
        tool: row.text("tool")?,
        module: row.text("module")?,
        ok: packed.flag(),
        cause: packed.label::<Cause>()?,
        issue: packed.next().map(str::to_owned),
        template: row.text("template").ok(),
        input_hash: packed.next().map(str::to_owned),
        latency_ms: Some(packed.count()),
        tries: packed.count(),
        chars: packed.count(),
        cut: packed.flag(),
        limit_offered: packed.flag(),
        next: packed.label::<Next>()?,
        quote: packed.text(),
    })
}

pub(in crate::journal) fn module(row: &Row) -> Result<Module> {
    let packed = row.text("packed")?;
    let mut packed = Packed(&packed);
    Ok(Module {
        run: row.text("run_id")?,
        module: row.text("module")?,
        rating: packed.number(),
        grounded: packed.flag(),
        unrated_why: packed.label::<UnratedWhy>()?,
        reads: packed.count(),
        writes: packed.count(),
        failed: packed.count(),
        dead_end: packed.flag(),
        calls: packed.list()?,
        notes: packed.text(),
    })
}

pub(in crate::journal) fn issue(row: &Row) -> Result<Issue> {
    let first = Sighting {
        at: time(row, "first_at")?,
        run: row.text("first_run").ok(),
        call: row.number("first_call").and_then(|call| call.try_into().ok()),
        deployment: deployment(row, "first_deployment"),
    };
    Ok(Issue {
        id: row.text("id")?,
        tool: row.text("tool").ok(),
        cause: needed(row, "cause")?,
        template: row.text("template")?,
        first: Some(first),
    })
}

pub(super) fn hit(row: &Row) -> Result<Hit> {
    let packed = row.text("packed")?;
    let mut packed = Packed(&packed);
    Ok(Hit {
        issue: row.text("issue")?,
        run: row.text("run_id")?,
        calls: packed.count(),
        recovered: packed.flag(),
        tools: json(packed.0)?,
    })
}

pub(super) fn tool(row: &Row) -> Result<Tool> {
    let packed = row.text("packed")?;
    let mut packed = Packed(&packed);
    Ok(Tool {
        run: row.text("run_id")?,
        calls: packed.count(),
        failed: packed.count(),
        dead_end: packed.flag(),
        recovered: packed.flag(),
        tool: packed.0.to_owned(),
    })
}

pub(super) fn tick(row: &Row) -> Result<Tick> {
    Ok(Tick { at: time(row, "at")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_at_the_end_of_packed_numbers_may_have_any_characters() {
        for (packed, list, text) in [
            ("3,,[1,2];=a;b,=c\0", vec![1, 2], Some("a;b,=c\0")),
            ("3,,[];=", vec![], Some("")),
            ("3,,[];", vec![], None),
        ] {
            let mut packed = Packed(packed);
            assert_eq!((packed.count::<u32>(), packed.next()), (3, None));
            assert_eq!(packed.list(), Ok(list));
            assert_eq!(packed.text().as_deref(), text);
        }
        assert!(Packed("no list;=a").list().is_err());
        assert_eq!((Packed("x").count::<u32>(), Packed("").number::<i64>()), (0, None));
    }
}
