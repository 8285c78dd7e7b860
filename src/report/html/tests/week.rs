//! A week with everything in it.

use super::samples::{legend, quote, section};
use crate::{
    facts::{coverage::DayStatus, report::Trend, state::State},
    report::view::{
        Change, CoverageRow, Hurt, IntervalView, Key, ModuleRow, Section, Untested, View,
    },
};

pub(super) fn rich() -> View {
    View {
        language: "de",
        thousands: '.',
        title: "Wochenbericht 2026-W46 · Mo 9.11. bis So 15.11.2026".into(),
        sentence: "Im Modul Kalender scheitert calendar.create_event bei 7 von 10 Personas, in 19 von 31 Läufen, \
                   seit Version 1.5.0 (D-2)."
            .into(),
        summary: [
            "10 Personas, 68 Läufe an 7 Tagen",
            "Deployments: 1.4.2 (D-1), 1.5.0 (D-2) seit Mi 11.11., 14:05",
            "Nicht erreichbar: 41 Minuten am Do 12.11., 09:12–09:53 (38 Aufrufe)",
            "2 Auffälligkeiten stumm geschaltet",
        ]
        .map(str::to_owned)
        .to_vec(),
        hurts: Section {
            rest: Some("und 3 weitere: F-7K2M, F-Q4ZD, slow:files.search".into()),
            ..section("Was wehtut", &[], hurts())
        },
        changes: section("Was sich geändert hat", &[], changes()),
        modules: Section {
            note: Some(
                "Bewertung als Unterschied zu den eigenen acht Wochen jeder Persona davor; grau das rohe Mittel.".into(),
            ),
            rest: Some("2 weitere Module ohne Nutzung sind nicht gezeigt.".into()),
            ..section(
                "Module",
                &["Modul", "Bewertung, Unterschied", "Mittel", "Läufe mit Reibung", "28 Tage", "Zitat"],
                modules(),
            )
        },
        missing: section(
            "Was sie vermisst haben",
            &["Name", "Personas", "Aufrufe"],
            vec![
                ["calendar.find_free_slot".into(), "4".into(), "11".into()],
                ["todo.bulk_complete".into(), "2".into(), "3".into()],
            ],
        ),
        slow: section(
            "Langsam",
            &["Werkzeug", "p50", "p95", "Aufrufe"],
            vec![
                ["files.search".into(), "1,9 s".into(), "6,4 s".into(), "212".into()],
                ["calendar.list_events".into(), "0,8 s".into(), "2,3 s".into(), "341".into()],
            ],
        ),
        not_tested: section("Nicht getestet", &[], not_tested()),
        coverage: Section {
            note: Some("Ein Kästchen ist ein Tag.".into()),
            ..section("Was aus jedem Tag wurde", &["Persona", "Mo 9.11.", "Di 10.11.", "So 15.11."], days())
        },
        legend: legend(),
        reliability: section(
            "Wie verlässlich",
            &[],
            vec![
                "Rauschen: λ = 1,31 für Anteile, 1,12 für Bewertungen".into(),
                "Zu freundlich: 6 von 74 Bewertungen ≥ 4 trotz Sackgasse im Modul".into(),
                "Nicht bewertet: 9 von 83 Nutzungen, davon 5 weil der Lauf endete".into(),
                "Seit Mi 11.11. auch ein anderer Prompt: ein Unterschied kann daher kommen".into(),
            ],
        ),
        cost: section("Kosten", &[], vec!["12,84 $ in der Woche, 0,19 $ für einen Tag einer Persona".into()]),
        footer: "Intervalle in eckigen Klammern sind 95-%-Intervalle. Alles Weitere steht in der JSON-Form.".into(),
    }
}

fn trend(days: [i8; 28]) -> Trend {
    days.map(|count| (count >= 0).then_some(f64::from(count))).to_vec()
}

fn hurts() -> Vec<Hurt> {
    let hurt = Hurt {
        id: "F-2HQ7".into(),
        friction: Key("F-2HQ7".into()),
        title: "calendar.create_event: invalid_type at ‹path›.recurrence.until: expected an ISO 8601 date without a time, \
                received a date with an offset; see docs/recurrence"
            .into(),
        kind: "führt in eine Sackgasse; auch: scheitert, wird wiederholt, Eingabefalle".into(),
        state: State::New,
        state_word: "neu".into(),
        bar: 1.0,
        impact: "hält im Mittel 3,9 von 10 Personas an einem Tag auf".into(),
        counts: "7 von 10 Personas, 19 von 31 Läufen [44–77 %]".into(),
        next: "Danach: 11-mal dasselbe noch einmal ohne Erfolg, 6-mal anderes Modul, 2-mal Ende".into(),
        quote: Some(quote(
            "Ich wollte nur den wöchentlichen Jour fixe bis Ende März eintragen. Dreimal lehnte der Kalender das Datum ab, \
             obwohl ich es genau so geschrieben habe, wie es in der Beschreibung steht. Am Ende habe ich es mir auf einen \
             Zettel geschrieben.",
            "Anna (anna.keller), Mi 11.11., 14:32 · Lauf 019a7c2e-5b1d, Aufruf 14",
        )),
        seen: "Zuerst Mi 11.11., 14:21 mit 1.5.0 (D-2), zuletzt So 15.11., 18:40 mit 1.5.0 (D-2)".into(),
        last_call: None,
        trend: trend([
            0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, 0, 0, 0, 0, 3, 4, 5, 3, 4,
        ]),
        trend_label: "Läufe je Tag, 28 Tage, höchstens 5".into(),
    };
    let second = Hurt {
        id: "F-9XN3".into(),
        title: "VAULT_LOCKED".into(),
        kind: "scheitert".into(),
        state: State::Regressed,
        state_word: "wieder da".into(),
        bar: 0.71,
        impact: "hält im Mittel 2,8 von 10 Personas an einem Tag auf".into(),
        counts: "5 von 10 Personas, 14 von 52 Läufen [17–40 %]".into(),
        next: "Danach: 9-mal anderes Modul, 5-mal Ende".into(),
        trend: trend([
            2, 3, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 3, 3, 3,
        ]),
        ..hurt.clone()
    };
    let third = Hurt {
        id: "F-C5PW".into(),
        title: "todo.list: Error: relation \"todo_items\" has no column ‹path› (statement 4 of 9), transaction rolled back"
            .into(),
        kind: "scheitert; auch: wird wiederholt".into(),
        state: State::Open,
        state_word: "offen".into(),
        bar: 0.33,
        impact: "hält im Mittel 1,3 von 10 Personas an einem Tag auf".into(),
        counts: "3 von 10 Personas, 8 von 44 Läufen [9–32 %]".into(),
        trend: trend([
            1, 0, 1, 1, 0, 2, -1, 1, 1, 0, 0, 1, 2, -1, 0, 1, 1, 0, 1, 1, -1, 1, 2, 1, 1, 1, 2, -1,
        ]),
        ..hurt.clone()
    };
    let fourth = Hurt {
        id: "slow:files.search".into(),
        title: "files.search".into(),
        kind: "langsam".into(),
        state: State::Rare,
        state_word: "selten".into(),
        bar: 0.12,
        impact: "hält im Mittel 0,5 von 10 Personas an einem Tag auf".into(),
        quote: None,
        ..third.clone()
    };
    let fifth = Hurt {
        state: State::Untested,
        state_word: "nicht getestet".into(),
        bar: 0.04,
        impact: "hält im Mittel 0,2 von 10 Personas an einem Tag auf".into(),
        ..hurt.clone()
    };
    vec![hurt, second, third, fourth, fifth]
}

fn changes() -> Vec<Change> {
    let change = |state: Option<State>, kind: &str, text: &str| Change {
        state,
        kind: kind.into(),
        text: text.into(),
        friction: state.is_some().then(|| Key(text.chars().take(6).collect())),
    };
    vec![
        change(
            Some(State::Regressed),
            "wieder da",
            "F-9XN3 VAULT_LOCKED, seit Mo 9.11., 08:14 mit 1.4.2 (D-1)",
        ),
        change(
            Some(State::Resolved),
            "behoben",
            "F-M2KD habits.create: name must be unique; zuletzt Fr 6.11., seitdem 14 Läufe ohne",
        ),
        change(
            Some(State::New),
            "neu",
            "F-2HQ7 calendar.create_event: invalid_type at ‹path›.recurrence.until",
        ),
        change(
            None,
            "Werkzeuge",
            "dazu: notes.share, notes.unshare; weg: notes.publish; anderes Schema: calendar.create_event",
        ),
    ]
}

fn modules() -> Vec<ModuleRow> {
    let days =
        [4, 4, 5, 4, -1, 4, 4, 5, 4, 4, 4, -1, 4, 4, 4, 5, 4, 4, -1, 4, 4, 4, 4, 2, 2, 1, 2, 2];
    let kalender = ModuleRow {
        module: "Kalender".into(),
        name: Key("kalender".into()),
        usage: "9 Personas, 31 Läufe".into(),
        absence: None,
        delta: Some("−1,2 [−1,8; −0,6]".into()),
        interval: Some(IntervalView { value: -1.2, ends: Some((-1.8, -0.6)), points: vec![] }),
        mean: Some("2,6 (n = 27)".into()),
        friction: Some("61 % [44–77 %]".into()),
        trend: trend(days),
        trend_label: "Mittel der Bewertungen je Tag, 28 Tage".into(),
        quote: Some(quote(
            "Der Kalender nimmt mein Datum nicht, und die Meldung sagt nicht, was er stattdessen will.",
            "Jonas (jonas.weber), Fr 13.11., 10:02 · Lauf 019a8511-77aa, Aufruf 6",
        )),
    };
    let notizen = ModuleRow {
        module: "Notizen".into(),
        usage: "3 Personas, 12 Läufe".into(),
        delta: Some("+0,3 (3 Personas: −0,2; +0,4; +0,7)".into()),
        interval: Some(IntervalView { value: 0.3, ends: None, points: vec![-0.2, 0.4, 0.7] }),
        mean: Some("4,1 (n = 12)".into()),
        friction: Some("8 % [1–35 %]".into()),
        quote: None,
        ..kalender.clone()
    };
    let unrated = |module: &str, usage: &str, absence: &str, friction: Option<&str>| ModuleRow {
        module: module.into(),
        name: Key(module.into()),
        usage: usage.into(),
        absence: Some(absence.into()),
        delta: None,
        interval: None,
        mean: None,
        friction: friction.map(str::to_owned),
        trend: vec![None; 28],
        trend_label: String::new(),
        quote: None,
    };
    vec![
        kalender,
        notizen,
        unrated(
            "Dateien",
            "6 Personas, 18 Läufe",
            "benutzt, nicht bewertet",
            Some("17 % [6–39 %]"),
        ),
        unrated("Gewohnheiten", "1 Persona, 2 Läufe", "zu wenig", None),
        unrated("Rezepte", "", "nicht benutzt", None),
    ]
}

fn not_tested() -> Vec<Untested> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    vec![
        Untested {
            why: "Angeboten, aber von niemandem benutzt: 2 Module, 7 Werkzeuge".into(),
            modules: names(&["Rezepte", "Fotos"]),
            tools: names(&[
                "recipes.create",
                "recipes.list",
                "photos.upload",
                "photos.list",
                "calendar.delete_event",
            ]),
            rest: Some("und 2 weitere Werkzeuge".into()),
        },
        Untested {
            why: "Vom Runner nicht angeboten: 3 Werkzeuge".into(),
            modules: vec![],
            tools: names(&["account.delete", "billing.charge", "space.delete"]),
            rest: None,
        },
    ]
}

fn days() -> Vec<CoverageRow> {
    use DayStatus as D;
    let row = |label: &str, days: [DayStatus; 7]| CoverageRow::Persona {
        label: label.into(),
        days: days.to_vec(),
    };
    vec![
        row("anna.keller", [D::Ran, D::Ran, D::Ran, D::Ran, D::Ran, D::NotDue, D::NotDue]),
        row("ben.fischer", [D::Ran, D::Ran, D::Ran, D::FailedProduct, D::Ran, D::Ran, D::Ran]),
        row(
            "carla.vogt",
            [D::Ran, D::HeldBack, D::HeldBack, D::FailedProduct, D::Ran, D::Ran, D::Ran],
        ),
        row(
            "david.lang",
            [
                D::Ran,
                D::FailedRunner,
                D::Idle,
                D::Paused,
                D::Budget,
                D::ModelStopped,
                D::RunnerDown,
            ],
        ),
        row("eva.richter", [D::Ran, D::Ran, D::Ran, D::Other, D::Ran, D::Ran, D::Ran]),
        row("jonas.weber", [D::Ran, D::Ran, D::Idle, D::Ran, D::Ran, D::NotDue, D::NotDue]),
    ]
}
