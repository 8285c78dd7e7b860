use std::{collections::HashSet, sync::LazyLock};

use mana_persona_runner::{
    agent::rating::parse_ratings,
    domain::{ModuleName, ModuleRating, Redactor},
};
use serde_json::json;

const SECRET: &str = "s3cret-pw";

static ASKED: LazyLock<Vec<ModuleName>> =
    LazyLock::new(|| ["todo", "notes", "newsResearch"].map(ModuleName::new).to_vec());
static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new([SECRET]));

/// For every answer: only modules that were asked for are rated, each at most once, from 1 to 5, with notes
/// that fit into a row and contain no secret. The result is the same with text around the answer, and when
/// the ratings are parsed again.
pub fn rating(answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer);
    let ratings = parse_ratings(&answer, &ASKED, &REDACTOR);
    let modules: HashSet<_> = ratings.iter().map(|rating| rating.module.as_str()).collect();
    assert_eq!(modules.len(), ratings.len(), "each once");
    for rating in &ratings {
        assert!(ASKED.contains(&rating.module));
        assert!((1..=5).contains(&rating.rating.get()));
        if let Some(notes) = &rating.notes {
            assert!((1..=1_000).contains(&notes.encode_utf16().count()), "{notes:?}");
            assert!(!notes.contains(SECRET), "{notes:?}");
        }
    }
    if answer.len() < 60_000 {
        let around = format!("Gern:\n{answer}");
        assert_eq!(parse_ratings(&around, &ASKED, &REDACTOR), ratings, "with words around it");
    }
    let again = json!({ "ratings": ratings.iter().map(shape).collect::<Vec<_>>() }).to_string();
    if again.len() < 60_000 {
        assert_eq!(parse_ratings(&again, &ASKED, &REDACTOR), ratings, "read again");
    }
}

/// A rating in the JSON form that the model is asked for.
fn shape(rating: &ModuleRating) -> serde_json::Value {
    json!({
        "module": rating.module.as_str(),
        "notes": rating.notes,
        "calls": rating.calls,
        "rating": rating.rating.get(),
    })
}
