//! The tools of a module.

use std::time::Duration;

use maud::{Markup, html};

use super::failures;
use crate::{
    domain::clipped_line,
    facts::overview::{Overview, ToolSummary},
    report::view::{languages, writer::NAME},
    ui::{asked::Asked, frame, words, words::terms::terms},
};

pub(super) fn section(asked: &Asked, found: &Overview, module: &str) -> Markup {
    let words = words::modules::words(asked.language);
    let tools: Vec<_> = found.tools_of(module).collect();
    html! {
        @if tools.is_empty() {
            p { (words.no_tools) }
        } @else {
            (frame::wide(words.tools, table(asked, &tools)))
        }
    }
}

fn table(asked: &Asked, tools: &[&ToolSummary]) -> Markup {
    let columns = words::modules::words(asked.language).tool_columns;
    html! {
        table {
            (frame::head(&columns, &[3, 4, 5]))
            tbody { @for tool in tools { tr data-item { (row(asked, tool)) } } }
        }
    }
}

/// A word takes the place of numbers that say too little.
fn row(asked: &Asked, tool: &ToolSummary) -> Markup {
    let (words, terms) = (words::modules::words(asked.language), languages::words(asked.language));
    let to = |page: &str| asked.link(&[page], &[("tool", &tool.tool)]);
    html! {
        th scope="row" { code { (clipped_line(&tool.tool, NAME)) } }
        @match tool.not_tested {
            Some(why) => td.grey colspan="5" { (terms.untested(why)) },
            None => {
                td { (terms.usage(tool.personas.into(), tool.runs.into())) }
                td { (failures(asked, tool.failed, tool.runs)) }
                td.n { (terms.number(tool.dead_ends.into())) }
                td.n { (duration(asked, tool.p50_ms)) }
                td.n { (duration(asked, tool.p95_ms)) }
            }
        }
        td {
            @if tool.runs > 0 {
                a href=(to("runs")) { (words.runs) } " · " a href=(to("frictions")) { (words.frictions) }
            }
        }
    }
}

fn duration(asked: &Asked, millis: Option<u32>) -> String {
    let took = |millis: u32| terms(asked.language).took(Duration::from_millis(millis.into()));
    millis.map_or_else(|| words::modules::words(asked.language).unknown.to_owned(), took)
}
