//! Which frictions are listed: a filter in the address.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::{
    domain::{Label, clipped_line, is_printable},
    facts::{
        detect::Detector,
        frictions::{Friction, Frictions},
        state::State,
    },
    report::view::languages,
    ui::{asked::Asked, trouble::Trouble, words},
};

/// More names than these are no choice: the name has to be typed.
const CHOICES: usize = 60;
/// Longest name in a choice, in characters.
const NAME: usize = 48;
/// The words of the parameter `muted`: all, only muted ones, none of them.
const MUTED: [&str; 3] = ["all", "1", "0"];

/// Which frictions are listed. What is not given lets all through.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    state: Option<State>,
    detector: Option<Detector>,
    module: Option<&'a str>,
    tool: Option<&'a str>,
    /// The label of a persona that had it.
    persona: Option<&'a str>,
    is_muted: Option<bool>,
}

impl<'a> Filter<'a> {
    pub(super) fn of(asked: &'a Asked) -> Result<Self, Trouble> {
        fn word<L: Label>(asked: &Asked, name: &'static str) -> Result<Option<L>, Trouble> {
            let parse = |word| L::parse(word).ok_or(Trouble::Parameter(name));
            asked.parameter(name).map(parse).transpose()
        }
        Ok(Self {
            state: word(asked, "state")?,
            detector: word(asked, "detector")?,
            module: asked.parameter("module"),
            tool: asked.parameter("tool"),
            persona: asked.parameter("persona"),
            is_muted: match asked.parameter("muted") {
                None | Some("all") => None,
                Some("1") => Some(true),
                Some("0") => Some(false),
                Some(_) => return Err(Trouble::Parameter("muted")),
            },
        })
    }

    pub(super) fn lets_through(&self, friction: &Friction) -> bool {
        let is = |asked: Option<&str>, name: &Option<String>| {
            asked.is_none_or(|asked| name.as_deref() == Some(asked))
        };
        let has = |persona: &str| friction.personas.iter().any(|label| &**label == persona);
        self.state.is_none_or(|state| state == friction.state)
            && self.detector.is_none_or(|detector| friction.detectors.contains(&detector))
            && is(self.module, &friction.module)
            && is(self.tool, &friction.tool)
            && self.persona.is_none_or(has)
            && self.is_muted.is_none_or(|it| it == (friction.state == State::Muted))
    }

    /// Whether anything is asked for.
    pub(super) fn is_set(&self) -> bool {
        let Self { state, detector, module, tool, persona, is_muted } = self;
        state.is_some()
            || detector.is_some()
            || module.or(*tool).or(*persona).is_some()
            || is_muted.is_some()
    }

    /// The form, with the names of these frictions to choose from.
    pub(super) fn form(&self, asked: &Asked, all: &Frictions) -> Markup {
        let words = words::frictions::words(asked.language);
        let terms = languages::words(asked.language);
        let states: Vec<_> =
            State::ALL.iter().map(|it| (it.as_str(), terms.state(*it).to_owned())).collect();
        let kind = |it: &Detector| terms.kind(*it).split(':').next().unwrap_or_default().to_owned();
        let detectors: Vec<_> = Detector::ALL.iter().map(|it| (it.as_str(), kind(it))).collect();
        let of_each = |name: fn(&Friction) -> Option<&str>| {
            all.frictions.iter().filter_map(|it| name(it)).collect::<BTreeSet<_>>()
        };
        let modules = of_each(|it| it.module.as_deref());
        let tools = of_each(|it| it.tool.as_deref());
        let personas = all.frictions.iter().flat_map(|it| it.personas.iter().map(|it| &**it));
        let muted = MUTED.into_iter().zip(words.muted_too.map(str::to_owned)).collect::<Vec<_>>();
        let is_muted = asked.parameter("muted").unwrap_or(MUTED[0]);
        html! {
            form.filter method="get" action=(asked.path) aria-label=(words.filter) {
                @for (name, value) in asked.carried() { input type="hidden" name=(name) value=(value); }
                (choice("state", words.state, words.any, &states, self.state.map(State::as_str), true))
                (name("module", words.module, words.any, &modules, self.module))
                (name("tool", words.tool, words.any, &tools, self.tool))
                (choice("detector", words.detector, words.any, &detectors, self.detector.map(Detector::as_str), false))
                (name("persona", words.persona, words.any, &personas.collect(), self.persona))
                label {
                    (words.muted)
                    select name="muted" { (options(&muted, Some(is_muted))) }
                }
                button { (words.apply) }
                @if self.is_set() { a href=(asked.link(&["frictions"], &[])) { (words.without_filter) } }
            }
        }
    }
}

/// A choice of words. The key `/` leads to the first one of the form.
fn choice(
    parameter: &str,
    label: &str,
    any: &str,
    words: &[(&str, String)],
    chosen: Option<&str>,
    is_first: bool,
) -> Markup {
    html! {
        label {
            (label)
            select name=(parameter) data-filter[is_first] {
                option value="" { (any) }
                (options(words, chosen))
            }
        }
    }
}

/// A choice of names, or, if there are too many, a field for one. A name that is asked for stays, even if nothing has
/// it.
fn name(
    parameter: &str,
    label: &str,
    any: &str,
    names: &BTreeSet<&str>,
    chosen: Option<&str>,
) -> Markup {
    if names.len() > CHOICES {
        let chosen = chosen.map(|name| clipped_line(name, NAME));
        return html! { label { (label) input name=(parameter) value=[chosen]; } };
    }
    let names = names.iter().copied().chain(chosen.filter(|chosen| !names.contains(chosen)));
    // A form cannot send other names back as they are.
    let names = names.filter(|name| name.chars().all(is_printable));
    let names: Vec<_> = names.map(|name| (name, clipped_line(name, NAME))).collect();
    choice(parameter, label, any, &names, chosen, false)
}

fn options(words: &[(&str, String)], chosen: Option<&str>) -> Markup {
    html! {
        @for (value, word) in words {
            option value=(value) selected[chosen == Some(value)] { (word) }
        }
    }
}
