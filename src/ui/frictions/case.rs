//! What a friction is: its title, its cause, its state and why.

use maud::{Markup, html};

use crate::{
    domain::{Cause, clipped_line, printable},
    facts::{frictions::Friction, line::Issue, overview::Overview, report::Trend, state::State},
    report::{
        html::{
            findings,
            links::{Links, linked},
            sections::unbroken,
            shapes,
        },
        view::{
            Hurt, languages,
            writer::{NAME, Writer},
        },
    },
    ui::{
        asked::Asked,
        times::Times,
        words::{self, terms::terms},
    },
};

/// What the address names.
pub(super) enum Case<'o> {
    /// A friction of the window, with the runs that had it by day.
    Friction(&'o Friction, &'o Trend),
    /// An issue that no run of the window had, or for which the product is not to blame.
    Issue(Box<Issue>),
}

impl<'o> Case<'o> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Friction(friction, _) => &friction.id,
            Self::Issue(issue) => &issue.id,
        }
    }

    pub(super) fn friction(&self) -> Option<&'o Friction> {
        match self {
            Self::Friction(friction, _) => Some(friction),
            Self::Issue(_) => None,
        }
    }

    pub(super) fn tool(&self) -> Option<&str> {
        match self {
            Self::Friction(friction, _) => friction.tool.as_deref(),
            Self::Issue(issue) => issue.tool.as_deref(),
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Friction(friction, _) => friction.cause,
            Self::Issue(issue) => Some(issue.cause),
        }
    }

    fn template(&self) -> Option<&str> {
        let template = match self {
            Self::Friction(friction, _) => friction.template.as_deref(),
            Self::Issue(issue) => Some(&*issue.template),
        };
        template.filter(|template| !template.trim().is_empty())
    }

    /// Whether it is a group of failures, which have an id of their own and can be muted.
    pub(super) fn is_issue(&self) -> bool {
        self.cause().is_some()
    }

    /// What it is, in a few words.
    pub(super) fn title(&self, writer: &Writer<'_>) -> String {
        match self {
            Self::Friction(friction, _) => writer.what(friction),
            Self::Issue(issue) => writer.issue(issue.tool.as_deref(), &issue.template),
        }
    }

    /// The parameter of the list of runs that leaves only those that may have it.
    fn runs(&self) -> Option<(&'static str, &str)> {
        if self.is_issue() {
            return Some(("issue", self.id()));
        }
        let (detector, subject) = self.id().split_once(':')?;
        let friction = self.friction()?;
        let is_outcome = friction.tool.is_none() && friction.module.is_none();
        match () {
            () if is_outcome && detector == "locked-out" => Some(("outcome", subject)),
            () if friction.tool.is_some() => friction.tool.as_deref().map(|tool| ("tool", tool)),
            () => friction.module.as_deref().map(|module| ("module", module)),
        }
    }

    /// How much it hurts: state, counts and impact. An issue that is no friction of the window says so.
    pub(super) fn head(&self, asked: &Asked, overview: &Overview, times: &Times) -> Markup {
        let words = words::frictions::words(asked.language);
        match self {
            Self::Friction(friction, trend) => {
                let report = &overview.report;
                let writer = Writer { report, words: languages::words(asked.language) };
                let all = &overview.frictions.frictions;
                let most = all.iter().map(|it| it.impact).fold(0.0, f64::max);
                head(&writer.hurt(friction, trend, most), asked)
            }
            Self::Issue(issue) => {
                let first = issue.first.as_ref().map(|first| times.minute(first.at));
                html! {
                    p.trouble { (words.not_in_window) }
                    @if let Some(first) = first { p.seen { (words.first_seen) ": " (first) } }
                }
            }
        }
    }

    /// Template, cause, blame, detectors and state.
    pub(super) fn facts(&self, asked: &Asked) -> Markup {
        let (words, terms) = (words::frictions::words(asked.language), terms(asked.language));
        let module = self.friction().and_then(|it| it.module.as_deref());
        html! {
            h2 { (words.what) }
            dl.facts {
                dt { (words.id) } dd { code { (clipped_line(self.id(), NAME)) } }
                @if let Some(template) = self.template() {
                    dt { (words.template) } dd { code { bdi { (printable(template)) } } }
                }
                @if let Some(cause) = self.cause() {
                    dt { (words.cause) } dd { (words.why(cause)) }
                    dt { (words.blame) } dd { (terms.blame(cause.blame())) }
                }
                @if let Some(tool) = self.tool() {
                    dt { (words.tool) } dd { code { bdi { (clipped_line(tool, NAME)) } } }
                }
                @if let Some(module) = module {
                    dt { (words.module) }
                    dd { (linked(asked.module(module), html! { bdi { (clipped_line(module, NAME)) } })) }
                }
                @if let Some(friction) = self.friction() { (standing(asked, friction)) }
                @if let Some(run) = self.runs() {
                    dt { (words.runs) }
                    dd { a href=(asked.link(&["runs"], &[run])) { (words.all_runs) } }
                }
            }
        }
    }
}

fn head(hurt: &Hurt, asked: &Asked) -> Markup {
    html! {
        div.card {
            div.what {
                p.kind {
                    (findings::state(hurt.state, &hurt.state_word)) " " span.id { (hurt.id) } " " (hurt.kind)
                }
                p.counts { (unbroken(&hurt.counts)) }
                (findings::seen(hurt, asked))
                @if let Some(quote) = &hurt.quote { (findings::quote(quote, asked)) }
            }
            div.impact {
                (shapes::bar(hurt.bar))
                p { (hurt.impact) }
            }
        }
    }
}

/// The detectors that raised it, its state, why it has that, and what is missing until it is resolved.
fn standing(asked: &Asked, friction: &Friction) -> Markup {
    let words = words::frictions::words(asked.language);
    let terms = languages::words(asked.language);
    let is_resolved = friction.state == State::Resolved;
    html! {
        dt { (words.detectors) }
        dd {
            @if friction.detectors.is_empty() { (words.no_detector) }
            @for (position, detector) in friction.detectors.iter().enumerate() {
                @if position > 0 { br; }
                (terms.kind(*detector))
            }
        }
        dt { (words.state) }
        dd {
            (findings::state(friction.state, terms.state(friction.state)))
            " " (words.because(friction.state)) " " (words.progress(friction.progress, is_resolved))
        }
    }
}
