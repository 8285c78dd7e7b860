//! The ten seeded personas of the catalog, with their German system prompts.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::SeedPersona;

/// The ten personas, in the catalog's order.
pub fn personas() -> Vec<SeedPersona> {
    // The file is compiled in and a test parses it, so parsing cannot fail here.
    serde_json::from_str(include_str!("catalog/personas.json")).unwrap_or_default()
}

/// `count` personas: the ten personas in a cycle, each with its own name, e-mail and system prompt.
pub fn many_personas(count: usize) -> Vec<SeedPersona> {
    let ten = personas();
    let people = ten.iter().cycle().take(count).enumerate().map(|(number, persona)| {
        let name = format!("{} {number}", persona.name);
        SeedPersona {
            email: format!("persona.{}.{number}@mana.test", persona.name.to_lowercase()),
            system_prompt: persona.system_prompt.replacen(&persona.name, &name, 1),
            name,
            ..persona.clone()
        }
    });
    people.collect()
}

/// How one persona writes: the phrases that the scripted Claude uses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Voice {
    /// Short texts: titles, tasks, names of things.
    pub titles: Vec<String>,
    /// Longer texts: entries, notes, descriptions.
    pub texts: Vec<String>,
    /// Notes for a rating of a module that worked.
    pub praise: Vec<String>,
    /// Notes for a rating of a module that failed.
    pub grumble: Vec<String>,
    /// Text that accompanies a tool call.
    pub asides: Vec<String>,
    /// The final texts of a run.
    pub closings: Vec<String>,
}

/// The voices by persona name.
pub(crate) fn voices() -> Vec<(String, Voice)> {
    let voices: Map<String, Value> =
        serde_json::from_str(include_str!("catalog/voices.json")).unwrap_or_default();
    voices
        .into_iter()
        .filter_map(|(name, voice)| Some((name, serde_json::from_value(voice).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The table in docs/contracts/mana-auth.md ("The seeded personas"), word for word.
    fn contract() -> Value {
        json!([
            ["Anna", "adhd-student", "daily", {"todo": 0.3, "journal": 0.3, "notes": 0.2, "mood": 0.2}],
            ["Ben", "adhd-student", "daily", {"todo": 0.4, "calendar": 0.3, "journal": 0.2, "habits": 0.1}],
            ["Marcus", "ceo-busy", "weekdays", {"contacts": 0.3, "calendar": 0.3, "todo": 0.2, "articles": 0.2}],
            ["Lena", "ceo-busy", "weekdays", {"journal": 0.3, "contacts": 0.2, "calendar": 0.2, "notes": 0.3}],
            ["Sofia", "creative-parent", "daily", {"journal": 0.3, "notes": 0.3, "dreams": 0.2, "mood": 0.2}],
            ["Tom", "creative-parent", "daily", {"todo": 0.4, "calendar": 0.3, "notes": 0.2, "habits": 0.1}],
            ["Kai", "solo-dev", "daily", {"articles": 0.3, "notes": 0.3, "library": 0.2, "goals": 0.2}],
            ["Julia", "researcher", "weekdays", {"articles": 0.4, "notes": 0.4, "newsResearch": 0.2}],
            ["Paul", "freelancer", "weekdays", {"invoices": 0.4, "contacts": 0.3, "calendar": 0.3}],
            ["Maya", "overwhelmed-newbie", "daily", {"todo": 0.6, "journal": 0.4}],
        ])
    }

    #[test]
    fn the_ten_personas_are_those_of_the_contract() {
        let personas = personas();
        let listed: Vec<Value> = personas
            .iter()
            .map(|p| json!([p.name, p.archetype, p.cadence, p.module_mix]))
            .collect();
        assert_eq!(Value::from(listed), contract());
        for persona in &personas {
            let name = persona.name.to_lowercase();
            assert_eq!(persona.email, format!("persona.{name}@mana.test"));
            let weights: f64 = persona.module_mix.values().filter_map(Value::as_f64).sum();
            assert!((weights - 1.0).abs() < 1e-9, "{name}: weights sum to {weights}");
        }
    }

    #[test]
    fn no_two_of_many_personas_are_the_same() {
        let many = many_personas(25);
        for own in [|p: &SeedPersona| p.email.clone(), |p: &SeedPersona| p.system_prompt.clone()] {
            let all: std::collections::BTreeSet<_> = many.iter().map(own).collect();
            assert_eq!(all.len(), 25);
        }
        assert!(many[13].system_prompt.starts_with("Du bist Lena 13, "));
    }

    #[test]
    fn every_system_prompt_addresses_the_persona_in_two_to_five_sentences() {
        for persona in personas() {
            let prompt = &persona.system_prompt;
            assert!(prompt.starts_with(&format!("Du bist {}, ", persona.name)), "{prompt}");
            let sentences = prompt.split(". ").count();
            assert!((2..=5).contains(&sentences), "{}: {sentences} sentences", persona.name);
        }
    }

    #[test]
    fn every_persona_has_a_voice_with_every_kind_of_phrase() {
        let names: Vec<String> = personas().into_iter().map(|p| p.name).collect();
        let voices = voices();
        assert_eq!(voices.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
        for (name, voice) in voices {
            for phrases in [
                &voice.titles,
                &voice.texts,
                &voice.praise,
                &voice.grumble,
                &voice.asides,
                &voice.closings,
            ] {
                assert!(phrases.len() >= 2, "{name}");
            }
        }
    }
}
