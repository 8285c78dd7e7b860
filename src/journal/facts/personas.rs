//! Who the personas are.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::Persona,
    facts::line,
    journal::{Row, Statement, optional, rows_of, text, time},
};

/// For how long the time at which a persona was last met is not renewed. Short, compared with the days for which
/// personas are kept.
const A_MOMENT: SignedDuration = SignedDuration::from_hours(1);

const ADD: &str = "INSERT INTO personas (id, label, archetype, cadence, mix, first_at, last_at)";
const ROW: &str = "($1, $2, $3, $4, $5, $6, $6)";

/// The line of a persona.
pub fn persona_line(persona: &Persona) -> line::Persona {
    let mix = persona.module_mix.weights();
    line::Persona {
        id: persona.user_id.to_string(),
        label: persona.label(),
        archetype: persona.archetype.clone(),
        cadence: Some(persona.cadence.as_str().to_owned()),
        mix: mix.map(|(module, weight)| (module.as_str().to_owned(), weight.into())).collect(),
    }
}

/// The statements that store personas which were met at the time `at`. Only what has changed is written. An archetype
/// that is not given stays.
pub(in crate::journal) fn additions(personas: &[line::Persona], at: Timestamp) -> Vec<Statement> {
    let rows = personas.iter().map(|persona| {
        let mix = serde_json::to_string(&persona.mix).unwrap_or_default();
        vec![
            text(&persona.id),
            text(&persona.label),
            optional(persona.archetype.as_ref()),
            optional(persona.cadence.as_ref()),
            text(mix),
            time(at),
        ]
    });
    let statements = rows_of(ADD, ROW, rows.collect()).map(|(insert, mut values)| {
        values.push(time(at - A_MOMENT));
        // Each run begins with one persona, so this text is kept compiled.
        static OF_ONE: LazyLock<String> =
            LazyLock::new(|| with_update(&format!("{ADD} VALUES {ROW}"), 7));
        let sql = match personas {
            [_] => OF_ONE.as_str().into(),
            _ => with_update(&insert, values.len()).into(),
        };
        (sql, values)
    });
    statements.collect()
}

/// `insert`, which updates what is known and has changed. The last of the `count` values is the time from which on an
/// earlier meeting need not be renewed.
fn with_update(insert: &str, count: usize) -> String {
    format!(
        "{insert} ON CONFLICT (id) DO UPDATE SET label = excluded.label, \
         archetype = COALESCE(excluded.archetype, personas.archetype), cadence = excluded.cadence, \
         mix = excluded.mix, last_at = excluded.last_at \
         WHERE personas.last_at < ${count} OR personas.label <> excluded.label \
         OR personas.mix <> excluded.mix OR COALESCE(personas.cadence, '') <> COALESCE(excluded.cadence, '') \
         OR COALESCE(personas.archetype, '') <> COALESCE(excluded.archetype, personas.archetype, '')"
    )
}

pub(super) fn read(row: &Row) -> Result<line::Persona, String> {
    Ok(line::Persona {
        id: row.text("id")?,
        label: row.text("label")?,
        archetype: row.text("archetype").ok(),
        cadence: row.text("cadence").ok(),
        mix: serde_json::from_str(&row.text("mix")?).map_err(|error| error.to_string())?,
    })
}
