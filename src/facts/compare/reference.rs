//! What a side of a comparison is said to be.

use jiff::{Timestamp, civil::Date};

use crate::facts::window::Window;

/// Why there is no such side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSide {
    /// Nothing is called like this.
    #[error(
        "{0:?} is no deployment's id or version, no day and no range of days such as 2026-11-02..2026-11-08; \
         the deployments are: {1}"
    )]
    Unknown(String, String),
    /// The last day of a range is before its first.
    #[error("no day is in {0}..{1}")]
    Reversed(Date, Date),
    /// Both sides are the same.
    #[error("both sides are the same; name two sides that differ")]
    Same,
}

/// Most deployments that an error names.
const NAMED: usize = 10;

/// What a side is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The deployment at this position of the window.
    Deployment(usize),
    /// The days from the first to the last, both included.
    Days(Date, Date),
    /// The 28 days before the other side.
    Before,
    /// No side: no deployment is known.
    Nothing,
}

impl Chosen {
    /// Both sides, A first.
    pub(super) fn both(
        window: &Window,
        a: Option<&str>,
        b: Option<&str>,
    ) -> Result<[Self; 2], NoSide> {
        let current =
            window.deployments().len().checked_sub(1).map_or(Self::Nothing, Self::Deployment);
        let a = a.map_or(Ok(Self::Before), |text| Self::parse(window, text))?;
        let b = b.map_or(Ok(current), |text| Self::parse(window, text))?;
        if a == b { Err(NoSide::Same) } else { Ok([a, b]) }
    }

    fn parse(window: &Window, text: &str) -> Result<Self, NoSide> {
        let deployments = window.deployments();
        // A version means its latest deployment.
        let position = deployments.iter().position(|it| it.id == text);
        let position = position.or_else(|| deployments.iter().rposition(|it| it.version == text));
        if let Some(position) = position {
            return Ok(Self::Deployment(position));
        }
        let days = match text.split_once("..") {
            Some((from, to)) => day(from).zip(day(to)),
            None => day(text).map(|day| (day, day)),
        };
        match days {
            Some((from, to)) if from > to => Err(NoSide::Reversed(from, to)),
            Some((from, to)) => Ok(Self::Days(from, to)),
            None => {
                let latest = deployments.iter().rev().take(NAMED);
                let names: Vec<_> =
                    latest.map(|it| format!("{} ({})", it.id, it.version)).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(NoSide::Unknown(text.to_owned(), names))
            }
        }
    }

    /// When the side begins.
    pub(super) fn begin(self, window: &Window) -> Timestamp {
        match self {
            Self::Deployment(position) => window.deployments()[position].at,
            Self::Days(from, _) => midnight(window, from),
            Self::Before | Self::Nothing => Timestamp::MIN,
        }
    }

    /// When the side ends; `other` is the other side.
    pub(super) fn end(self, window: &Window, other: Self) -> Timestamp {
        match self {
            Self::Deployment(position) => {
                window.deployments().get(position + 1).map_or(window.end(), |next| next.at)
            }
            Self::Days(_, to) => to.tomorrow().map_or(Timestamp::MAX, |day| midnight(window, day)),
            Self::Before => other.begin(window),
            Self::Nothing => window.end(),
        }
    }
}

/// A date such as 2026-11-18, and nothing else.
fn day(text: &str) -> Option<Date> {
    let is_date = text.len() == "2026-11-18".len();
    is_date.then(|| text.parse().ok()).flatten().filter(|day: &Date| day.year() > 0)
}

/// The begin of a day.
fn midnight(window: &Window, day: Date) -> Timestamp {
    day.to_zoned(window.zone().clone()).map_or(Timestamp::MAX, |begin| begin.timestamp())
}
