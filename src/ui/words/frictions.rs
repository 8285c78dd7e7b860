//! Words of the pages about frictions.

mod english;
mod german;

use crate::{
    domain::{Cause, Language},
    facts::state::{Progress, State},
};

/// Words without numbers.
pub(in crate::ui) struct Words {
    pub(in crate::ui) title: &'static str,
    /// The heading of what a detector raised.
    pub(in crate::ui) raised: &'static str,
    /// The heading of what no detector raised.
    pub(in crate::ui) unraised: &'static str,
    pub(in crate::ui) muted: &'static str,
    pub(in crate::ui) nothing: &'static str,
    pub(in crate::ui) nothing_matches: &'static str,
    pub(in crate::ui) no_all_clear: &'static str,

    pub(in crate::ui) filter: &'static str,
    pub(in crate::ui) state: &'static str,
    pub(in crate::ui) module: &'static str,
    pub(in crate::ui) tool: &'static str,
    pub(in crate::ui) detector: &'static str,
    pub(in crate::ui) persona: &'static str,
    pub(in crate::ui) any: &'static str,
    pub(in crate::ui) apply: &'static str,
    pub(in crate::ui) without_filter: &'static str,
    /// The choices of the parameter `muted`: all, only muted ones, none of them.
    pub(in crate::ui) muted_too: [&'static str; 3],

    pub(in crate::ui) what: &'static str,
    pub(in crate::ui) id: &'static str,
    pub(in crate::ui) template: &'static str,
    pub(in crate::ui) cause: &'static str,
    pub(in crate::ui) blame: &'static str,
    pub(in crate::ui) detectors: &'static str,
    pub(in crate::ui) no_detector: &'static str,
    pub(in crate::ui) runs: &'static str,
    pub(in crate::ui) all_runs: &'static str,
    pub(in crate::ui) not_in_window: &'static str,
    pub(in crate::ui) first_seen: &'static str,

    pub(in crate::ui) hits: &'static str,
    pub(in crate::ui) deployments: &'static str,
    pub(in crate::ui) no_deployment: &'static str,
    pub(in crate::ui) next: &'static str,
    pub(in crate::ui) next_unknown: &'static str,
    pub(in crate::ui) personas: &'static str,
    /// The columns of the personas: label, runs, recovered, calls, last run.
    pub(in crate::ui) persona_columns: [&'static str; 5],
    pub(in crate::ui) last_run: &'static str,
    pub(in crate::ui) samples: &'static str,
    /// The columns of the samples: call, persona, tool, next, took, what the persona said.
    pub(in crate::ui) sample_columns: [&'static str; 6],
    pub(in crate::ui) no_samples: &'static str,
    pub(in crate::ui) to_mute_title: &'static str,
    pub(in crate::ui) to_mute: &'static str,
    pub(in crate::ui) to_unmute: &'static str,
    /// What stands for the reason in the command.
    pub(in crate::ui) reason: &'static str,
    language: Language,
}

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &german::WORDS,
        Language::English => &english::WORDS,
    }
}

impl Words {
    pub(in crate::ui) fn why(&self, cause: Cause) -> &'static str {
        match self.language {
            Language::German => german::why(cause),
            Language::English => english::why(cause),
        }
    }

    /// Why something has its state.
    pub(in crate::ui) fn because(&self, state: State) -> &'static str {
        match self.language {
            Language::German => german::because(state),
            Language::English => english::because(state),
        }
    }

    /// What is missing until something is resolved, or what resolved it.
    pub(in crate::ui) fn progress(&self, progress: Progress, is_resolved: bool) -> String {
        match self.language {
            Language::German => german::progress(progress, is_resolved),
            Language::English => english::progress(progress, is_resolved),
        }
    }

    /// How many of all are listed.
    pub(in crate::ui) fn listed(&self, found: usize, of: usize) -> String {
        match self.language {
            Language::German if found == of => format!("{found} gefunden"),
            Language::German => format!("{found} von {of}"),
            Language::English if found == of => format!("{found} found"),
            Language::English => format!("{found} of {of}"),
        }
    }

    /// That something is muted.
    pub(in crate::ui) fn muted_until(&self, until: &str, reason: &str) -> String {
        match (self.language, reason) {
            (Language::German, "") => format!("Stumm bis {until}, ohne Angabe eines Grundes."),
            (Language::German, reason) => format!("Stumm bis {until}: {reason}"),
            (Language::English, "") => format!("Muted until {until}, without a reason."),
            (Language::English, reason) => format!("Muted until {until}: {reason}"),
        }
    }

    /// How many personas are not named.
    pub(in crate::ui) fn more_personas(&self, count: usize) -> String {
        match self.language {
            Language::German => format!("und {count} weitere"),
            Language::English => format!("and {count} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Label;

    #[test]
    fn each_state_and_cause_has_words_of_its_own_in_both_languages() {
        fn assert_differ<T: PartialEq + std::fmt::Debug>(words: Vec<T>) {
            let first = |word| words.iter().position(|it| it == word);
            assert!(words.iter().enumerate().all(|(at, it)| first(it) == Some(at)), "{words:?}");
        }
        let both = [Language::German, Language::English].map(words);
        let of = |each: &dyn Fn(&'static Words) -> Vec<&'static str>| {
            both.iter().flat_map(|it| each(it)).collect::<Vec<_>>()
        };
        assert_differ(of(&|it| Cause::ALL.iter().map(|cause| it.why(*cause)).collect()));
        assert_differ(of(&|it| State::ALL.iter().map(|state| it.because(*state)).collect()));
    }

    #[test]
    fn the_progress_says_how_many_runs_of_whom_are_missing() {
        let [german, english] = [Language::German, Language::English].map(words);
        let progress = Progress { clean: 2, needed: Some(6), personas: 1, personas_needed: 2 };
        assert_eq!(
            german.progress(progress, false),
            "Seit dem letzten Treffer blieben 2 Läufe von 1 der betroffenen Personas ohne Treffer; behoben ist es \
             nach 6 solchen Läufen von mindestens 2 Personas."
        );
        assert_eq!(
            english.progress(progress, false),
            "Since the last hit there were 2 clean runs of 1 of the affected personas; it is resolved after 6 such \
             runs of at least 2 personas."
        );
        let rare = Progress { needed: None, ..progress };
        assert!(german.progress(rare, false).contains("nie"), "{}", german.progress(rare, false));
        let one = Progress { clean: 1, needed: Some(3), personas: 1, personas_needed: 1 };
        assert!(german.progress(one, false).contains("1 Lauf "), "{}", german.progress(one, false));
    }
}
