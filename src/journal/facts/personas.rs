//! Who the personas are.

use jiff::{SignedDuration, Timestamp};

use super::{MOST_NAMES, name, optional_words, words};
use crate::{
    domain::Persona,
    facts::line,
    journal::{Row, Statement, Value, rows_of, text, time},
};

/// For how long the time at which a persona was last met is not renewed. Short, compared with the days for which
/// personas are kept.
const A_MOMENT: SignedDuration = SignedDuration::from_hours(1);

const ADD: &str = "INSERT INTO personas (id, label, archetype, cadence, mix, first_at, last_at)";
const ROW: &str = "($1, $2, $3, $4, $5, $6, $6)";

/// The line of a persona. Its mix has 2,000 modules at most.
pub fn persona_line(persona: &Persona) -> line::Persona {
    let mix = persona.module_mix.weights();
    line::Persona {
        id: persona.user_id.to_string(),
        label: persona.label(),
        archetype: persona.archetype.clone(),
        cadence: Some(persona.cadence.as_str().to_owned()),
        mix: mix.take(MOST_NAMES).map(|(it, weight)| (name(it.as_str()), weight.into())).collect(),
    }
}

/// The statements that store personas which were met at the time `at`. Only what has changed is written. An archetype
/// that is not given stays.
pub(in crate::journal) fn additions(personas: &[line::Persona], at: Timestamp) -> Vec<Statement> {
    const UPDATE: &str = " ON CONFLICT (id) DO UPDATE SET label = excluded.label, \
         archetype = COALESCE(excluded.archetype, personas.archetype), cadence = excluded.cadence, \
         mix = excluded.mix, last_at = excluded.last_at \
         WHERE personas.last_at < $A OR personas.label <> excluded.label \
         OR personas.mix <> excluded.mix OR COALESCE(personas.cadence, '') <> COALESCE(excluded.cadence, '') \
         OR COALESCE(personas.archetype, '') <> COALESCE(excluded.archetype, personas.archetype, '')";
    let rows = personas.iter().map(|persona| values(persona, at));
    let statements = rows_of(ADD, ROW, rows.collect()).map(|(insert, mut values)| {
        let number = values.len() + 1;
        values.push(time(at - A_MOMENT));
        let update = UPDATE.replace("$A", &format!("${number}"));
        ((insert.into_owned() + &update).into(), values)
    });
    statements.collect()
}

/// The statement that stores a persona whose run is found later. Of a known persona only the times are changed.
pub(super) fn met_earlier(persona: &Persona, at: Timestamp) -> Statement {
    const TIMES: &str = " ON CONFLICT (id) DO UPDATE SET \
         first_at = CASE WHEN excluded.first_at < personas.first_at THEN excluded.first_at ELSE personas.first_at END, \
         last_at = CASE WHEN excluded.last_at > personas.last_at THEN excluded.last_at ELSE personas.last_at END";
    (format!("{ADD} VALUES {ROW}{TIMES}").into(), values(&persona_line(persona), at))
}

fn values(persona: &line::Persona, at: Timestamp) -> Vec<Value> {
    // Names and numbers always encode.
    let mix = serde_json::to_string(&persona.mix).unwrap_or_default();
    vec![
        text(&persona.id),
        words(&persona.label),
        optional_words(persona.archetype.as_deref()),
        optional_words(persona.cadence.as_deref()),
        text(mix),
        time(at),
    ]
}

pub(in crate::journal) fn read(row: &Row) -> Result<line::Persona, String> {
    Ok(line::Persona {
        id: row.text("id")?,
        label: row.text("label")?,
        archetype: row.text("archetype").ok(),
        cadence: row.text("cadence").ok(),
        mix: serde_json::from_str(&row.text("mix")?).map_err(|error| error.to_string())?,
    })
}
