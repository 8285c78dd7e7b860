//! German words of the pages about frictions.

use super::Words;
use crate::{
    domain::{Cause, Language},
    facts::state::{Progress, State},
};

pub(super) const WORDS: Words = Words {
    title: "Was weh tut",
    raised: "Von einem Detektor gemeldet",
    unraised: "Von keinem Detektor gemeldet",
    muted: "Stumm geschaltet",
    nothing: "In diesen Tagen ist nichts gescheitert, das am Produkt lag.",
    nothing_matches: "Nichts passt zu diesem Filter.",
    no_all_clear: "Das ist keine Entwarnung: Was niemand benutzt hat, ist nicht geprüft.",
    filter: "Filter",
    state: "Zustand",
    module: "Modul",
    tool: "Werkzeug",
    detector: "Detektor",
    persona: "Persona",
    any: "alle",
    apply: "Filtern",
    without_filter: "ohne Filter",
    muted_too: ["auch stumme", "nur stumme", "ohne stumme"],
    what: "Was es ist",
    id: "Kennung",
    template: "Muster der Fehlertexte",
    cause: "Ursache",
    blame: "Verantwortlich",
    detectors: "Detektoren",
    no_detector: "keiner schlug an",
    runs: "Läufe",
    all_runs: "alle Läufe damit",
    not_in_window: "In diesen Tagen hatte es kein Lauf. Gezeigt ist, was vorher war.",
    first_seen: "Zuerst gesehen",
    hits: "Verlauf",
    deployments: "Versionen in dieser Zeit; die gestrichelten Linien im Bild:",
    no_deployment: "In dieser Zeit kam keine neue Version.",
    next: "Was sie danach taten",
    next_unknown: "Nicht bekannt: Die einzelnen Aufrufe sind nicht mehr gespeichert, oder es gab keinen gescheiterten.",
    personas: "Personas",
    persona_columns: ["Persona", "Läufe damit", "davon ging es später doch", "Aufrufe", "Zuletzt"],
    last_run: "letzter Lauf damit",
    samples: "Belege",
    sample_columns: ["Aufruf", "Persona", "Werkzeug", "Danach", "Dauer", "Die Persona dazu"],
    no_samples: "Kein einzelner Aufruf ist mehr gespeichert.",
    to_mute_title: "Stumm schalten",
    to_mute: "Diese Seiten ändern nichts. Stumm schaltet die Befehlszeile, für höchstens 90 Tage und mit einem Grund:",
    to_unmute: "Aufheben:",
    reason: "Grund",
    language: Language::German,
};

pub(super) fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Handler => "Das Werkzeug antwortete mit einem Fehlertext.",
        Cause::Coded => "Das Werkzeug antwortete mit einem Fehler, der einen Code hat.",
        Cause::Rpc => "Der Server antwortete mit einem Fehler von JSON-RPC.",
        Cause::Cut => {
            "Es kam keine Antwort, oder sie brach ab. Ob der Aufruf gewirkt hat, ist nicht bekannt."
        }
        Cause::ServerPolicy => "Eine Regel des Servers verbot den Aufruf.",
        Cause::Vanished => "Das Werkzeug stand am Anfang des Laufs in der Liste und war dann weg.",
        Cause::RejectedInput => "Die Eingabe wurde bei der Prüfung gegen das Schema abgelehnt.",
        Cause::Unreachable => "Der Server war nicht erreichbar.",
        Cause::Invented => "Das Modell rief ein Werkzeug, das es nicht gibt.",
        Cause::BadJson => "Was das Modell als Eingabe schrieb, ist kein JSON-Objekt.",
        Cause::RunnerPolicy => "Die Regeln dieses Runners verboten den Aufruf.",
        Cause::Stopped => "Der Aufruf wurde beim Anhalten oder am Ende der Frist aufgegeben.",
    }
}

pub(super) fn because(state: State) -> &'static str {
    match state {
        State::Muted => "Jemand hat es stumm geschaltet.",
        State::Resolved => "So viele Läufe ohne Treffer sind kein Zufall mehr.",
        State::Untested => {
            "Seit 14 Tagen kein Treffer, aber auch keine drei Läufe, die es hätten treffen können: Ob es noch da ist, \
             weiß niemand."
        }
        State::Regressed => "Es war behoben und kam vor weniger als 14 Tagen wieder.",
        State::Rare => "Es traf bisher einen einzigen Lauf.",
        State::New => "Es trat vor weniger als 7 Tagen zum ersten Mal auf.",
        State::Open => "Es ist bekannt und nicht behoben.",
    }
}

pub(super) fn progress(progress: Progress, is_resolved: bool) -> String {
    let Progress { clean, needed, personas, personas_needed } = progress;
    let runs =
        if clean == 1 { "blieb 1 Lauf".to_owned() } else { format!("blieben {clean} Läufe") };
    let found = format!(
        "Seit dem letzten Treffer {runs} von {personas} der betroffenen Personas ohne Treffer"
    );
    match needed {
        Some(needed) if is_resolved => format!("{found}; {needed} genügten."),
        Some(needed) if personas_needed > 1 => {
            format!(
                "{found}; behoben ist es nach {needed} solchen Läufen von mindestens {personas_needed} Personas."
            )
        }
        Some(needed) => format!("{found}; behoben ist es nach {needed} solchen Läufen."),
        None => format!("{found}. Es ist so selten, dass Zählen allein es nie als behoben zeigt."),
    }
}
