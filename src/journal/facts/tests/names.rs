//! Names and texts of others.

use super::*;
use crate::domain::{ModuleMix, ModuleName};

const LONG: usize = 5_000_000;

fn persona_with(modules: impl Iterator<Item = String>) -> crate::domain::Persona {
    let weights: Vec<_> = modules.map(|name| (ModuleName::new(name), 0.5)).collect();
    crate::domain::Persona { module_mix: ModuleMix::new(weights), ..persona("anna") }
}

#[tokio::test]
async fn names_are_kept_up_to_128_characters_and_lists_up_to_2_000_names() {
    let journal = Journal::in_memory().await.unwrap();
    let tool = |name: String| line::CatalogTool { name, hash: "00ff".into() };
    let names = || (0..3_000).map(|n| format!("t{n}"));
    let list = line::Catalog {
        id: "abc".into(),
        tools: [tool("x".repeat(LONG))].into_iter().chain(names().map(tool)).collect(),
        hidden: ["y".repeat(LONG)].into_iter().chain(names()).collect(),
    };
    journal.keep_catalog("abcdef", "[]", &list, NOON, NOON).await.unwrap();
    let lists = lines_of(&journal, |line| match line {
        Line::Catalog(list) => Some(list),
        _ => None,
    });
    let list = lists.await.remove(0);
    assert_eq!((list.tools.len(), list.hidden.len()), (2_000, 2_000));
    assert_eq!(list.tools[0].name, "x".repeat(128));
    assert_eq!(list.hidden[0], "y".repeat(128));
    let long = persona_line(&persona_with(["z".repeat(LONG)].into_iter()));
    assert_eq!(long.mix.keys().collect::<Vec<_>>(), [&"z".repeat(128)]);
    assert_eq!(persona_line(&persona_with(names())).mix.len(), 2_000);
}

#[tokio::test]
async fn no_text_of_a_fact_has_a_nul() {
    let journal = Journal::in_memory().await.unwrap();
    let nul = "a\0b";
    let id = begin(&journal, "anna", "s", NOON).await;
    let mut facts = facts(id, NOON, 1, &[7]);
    for (call, _) in &mut facts.calls {
        (call.tool, call.module) = (nul.into(), nul.into());
        (call.template, call.quote) = (Some(nul.into()), Some(nul.into()));
    }
    for (issue, hit) in &mut facts.hits {
        (issue.tool, issue.template) = (Some(nul.into()), nul.into());
        hit.tools = vec![nul.into()];
    }
    facts.tools[0].tool = nul.into();
    (facts.modules[0].module, facts.modules[0].notes) = (nul.into(), Some(nul.into()));
    end(&journal, id, RunState::Finished, facts).await;
    journal.release(nul, Some(nul)).await.unwrap();
    journal.adopt_releases(NOON).await.unwrap();
    journal.mute(&Fingerprint(7).short_id(), NOON, NOON + DAY, nul).await.unwrap();
    let anna = line::Persona {
        label: nul.into(),
        archetype: Some(nul.into()),
        ..persona_line(&persona("anna"))
    };
    let (clock_at, personas) = (NOON, [anna]);
    let tick = TickFacts { at: NOON, clock_at, personas: &personas, absences: &[] };
    journal.note_tick(&tick).await.unwrap();
    for (table, columns) in [
        ("calls", "tool || module || template || quote"),
        ("run_tools", "tool"),
        ("run_modules", "module || notes"),
        ("issues", "tool || template"),
        ("issue_hits", "tools"),
        ("deployments", "version || note"),
        ("mutes", "reason"),
        ("personas", "label || archetype"),
    ] {
        let rows = format!("SELECT 1 AS n FROM {table} WHERE {columns} LIKE '%b%'");
        let with_nul = format!("SELECT 1 AS n FROM {table} WHERE instr({columns}, char(0)) > 0");
        let found = async |sql: String| {
            journal.write("look", vec![(sql.into(), vec![])]).await.unwrap().len()
        };
        assert!(found(rows).await > 0, "{table}");
        assert_eq!(found(with_nul).await, 0, "{table}");
    }
}
