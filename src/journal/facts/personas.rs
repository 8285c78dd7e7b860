//! Who the personas are.

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
    const UPDATE: &str = " ON CONFLICT (id) DO UPDATE SET label = excluded.label, \
         archetype = COALESCE(excluded.archetype, personas.archetype), cadence = excluded.cadence, \
         mix = excluded.mix, last_at = excluded.last_at \
         WHERE personas.last_at < $A OR personas.label <> excluded.label \
         OR personas.mix <> excluded.mix OR COALESCE(personas.cadence, '') <> COALESCE(excluded.cadence, '') \
         OR COALESCE(personas.archetype, '') <> COALESCE(excluded.archetype, personas.archetype, '')";
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
        let number = values.len() + 1;
        values.push(time(at - A_MOMENT));
        let update = UPDATE.replace("$A", &format!("${number}"));
        ((insert.into_owned() + &update).into(), values)
    });
    statements.collect()
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
