//! The filter of the list of runs: read from the address, and as a form.

use std::collections::HashMap;

use jiff::civil::Date;
use maud::{Markup, html};

use crate::{
    domain::{Label, Outcome, RunState, clipped_line},
    facts::window::Days,
    journal::{Choices, DeploymentRow, Journal, RunFilter},
    ui::{
        asked::Asked,
        trouble::Trouble,
        words::{runs::words, terms::terms},
    },
};

/// How many names of a kind are suggested.
const SUGGESTED: u32 = 100;
/// How many deployments have their versions shown.
const DEPLOYMENTS: u32 = 500;
/// How many deployments can be chosen from.
const CHOSEN_FROM: usize = 50;
/// Longest name that is suggested, in bytes, and how many bytes of names of a kind are.
const SUGGESTION: usize = 64;
const SUGGESTIONS: usize = 2_500;
/// Longest name that a field shows, in characters.
const NAME: usize = 128;
/// Longest version, in characters.
const VERSION: usize = 24;
/// Numbers of days that can be chosen.
const LAST: [u32; 4] = [1, 7, 28, 90];

/// A filter as it was asked for.
#[derive(Default)]
pub(super) struct Filter {
    pub(super) runs: RunFilter,
    /// The persona as the field shows it.
    pub(super) persona: Option<String>,
    pub(super) choices: Choices,
    /// The latest ones, newest first.
    pub(super) deployments: Vec<DeploymentRow>,
}

impl Filter {
    pub(super) async fn read(journal: &Journal, asked: &Asked) -> Result<Self, Trouble> {
        let text = |name| asked.parameter(name).map(str::trim).map(str::to_owned);
        let mut runs = RunFilter {
            module: text("module"),
            tool: text("tool"),
            issue: text("issue"),
            model: text("model"),
            deployment: deployment(asked)?,
            ..RunFilter::default()
        };
        match asked.parameter("outcome") {
            Some(word) if Outcome::parse(word).is_some() => runs.outcome = Some(word.to_owned()),
            Some(word) if RunState::parse(word).is_some() => runs.state = Some(word.to_owned()),
            Some(_) => return Err(Trouble::Parameter("outcome")),
            None => {}
        }
        let mut persona = text("persona");
        if let Some(name) = &persona {
            let known = journal.persona_called(name).await?;
            let (id, label) = known.unwrap_or((name.clone(), name.clone()));
            (runs.persona, persona) = (Some(id), Some(label));
        }
        if let Some(days) = asked.days {
            runs.days = journal.dates_of(days).await?;
        }
        let (choices, deployments) = match asked.is_json {
            true => Default::default(),
            false => {
                (journal.choices(SUGGESTED).await?, journal.latest_deployments(DEPLOYMENTS).await?)
            }
        };
        Ok(Self { runs, persona, choices, deployments })
    }

    /// The versions of the deployments, by number.
    pub(super) fn versions(&self) -> HashMap<i64, String> {
        let version = |deployment: &DeploymentRow| {
            (deployment.number, clipped_line(&deployment.version, VERSION))
        };
        self.deployments.iter().map(version).collect()
    }

    /// The form. It is sent without JavaScript, and all of it is in the address then.
    pub(super) fn form(&self, asked: &Asked) -> Markup {
        let words = words(asked.language);
        let RunFilter { module, tool, issue, model, .. } = &self.runs;
        let suggestions = [
            ("personas", &self.choices.personas),
            ("modules", &self.choices.modules),
            ("tools", &self.choices.tools),
        ];
        html! {
            form.filter method="get" action=(asked.path) role="search" aria-label=(words.filter) {
                @if asked.parameter("lang").is_some() {
                    input type="hidden" name="lang" value=(asked.language.as_str());
                }
                (field(words.persona, "persona", self.persona.as_ref(), Some("personas")))
                (self.outcomes(asked))
                (field(words.module, "module", module.as_ref(), Some("modules")))
                (field(words.tool, "tool", tool.as_ref(), Some("tools")))
                (field(words.issue, "issue", issue.as_ref(), None))
                (self.builds(asked))
                (field(words.model, "model", model.as_ref(), None))
                (days(asked))
                button { (words.apply) }
                a href=(asked.plain(&["runs"])) { (words.clear) }
                @for (id, names) in suggestions {
                    datalist id=(id) {
                        @for name in suggested(names) { option value=(name) {} }
                    }
                }
            }
        }
    }

    fn outcomes(&self, asked: &Asked) -> Markup {
        let (words, terms) = (words(asked.language), terms(asked.language));
        let states = [RunState::Running, RunState::RatingOwed];
        let states = states.map(|state| (state.as_str(), terms.state(state)));
        let outcomes = Outcome::ALL.iter().map(|it| (it.as_str(), terms.outcome(*it)));
        let chosen = asked.parameter("outcome");
        html! {
            label {
                (words.outcome)
                select name="outcome" {
                    option value="" { (words.all) }
                    @for (value, name) in states.into_iter().chain(outcomes) {
                        option value=(value) selected[chosen == Some(value)] { (name) }
                    }
                }
            }
        }
    }

    fn builds(&self, asked: &Asked) -> Markup {
        let words = words(asked.language);
        let chosen = self.runs.deployment;
        let is_shown = |(index, deployment): &(usize, &DeploymentRow)| {
            *index < CHOSEN_FROM || Some(deployment.number) == chosen
        };
        let shown = self.deployments.iter().enumerate().filter(is_shown);
        html! {
            label {
                (words.deployment)
                select name="deployment" {
                    option value="" { (words.all) }
                    @for (_, deployment) in shown {
                        option value=(deployment.id()) selected[Some(deployment.number) == chosen] {
                            (clipped_line(&deployment.version, VERSION)) " (" (deployment.id()) ")"
                        }
                    }
                }
            }
        }
    }
}

/// The names that are short and shown as they are, as far as there is room for them.
fn suggested(names: &[String]) -> impl Iterator<Item = &String> {
    let is_plain =
        |name: &&String| name.len() <= SUGGESTION && clipped_line(name, SUGGESTION) == **name;
    let mut room = SUGGESTIONS;
    names.iter().filter(is_plain).take_while(move |name| {
        let fits = name.len() <= room;
        room = room.saturating_sub(name.len());
        fits
    })
}

/// The number of the deployment that is asked for, by its id.
fn deployment(asked: &Asked) -> Result<Option<i64>, Trouble> {
    let Some(id) = asked.parameter("deployment") else { return Ok(None) };
    let number = id.strip_prefix("D-").unwrap_or(id).parse();
    number.map(Some).map_err(|_| Trouble::Parameter("deployment"))
}

fn field(name: &str, id: &str, value: Option<&String>, list: Option<&str>) -> Markup {
    let value = value.map(|value| clipped_line(value, NAME));
    html! {
        label {
            (name)
            input name=(id) value=[value] list=[list] data-filter[id == "persona"] autocomplete="off";
        }
    }
}

/// The days: a number of last days, or the first and the last day.
fn days(asked: &Asked) -> Markup {
    let words = words(asked.language);
    let (last, between) = match asked.days {
        Some(Days::Last(days)) => (Some(days), None),
        Some(Days::Between(from, to)) => (None, Some((from, to))),
        Some(Days::LastWeek | Days::All) | None => (None, None),
    };
    let date = |name: &str, id: &str, date: Option<Date>| {
        html! { label { (name) input type="date" name=(id) value=[date]; } }
    };
    let other = last.filter(|last| !LAST.contains(last));
    html! {
        label {
            (words.days)
            select name="days" {
                option value="" { (words.all) }
                @for days in LAST.into_iter().chain(other) {
                    option value=(days) selected[Some(days) == last] { (words.last_days(days)) }
                }
            }
        }
        (date(words.from, "from", between.map(|(from, _)| from)))
        (date(words.to, "to", between.map(|(_, to)| to)))
    }
}
