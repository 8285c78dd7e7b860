//! One persona: who it is, its days, and how it rates.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan, civil::Date};

use super::{FoundRun, MOST, OF_DAYS, Page, Part, RunFilter, days};
use crate::{
    domain::{Label, UnratedWhy},
    facts::line,
    journal::{Journal, Result, Row, facts, number, text},
};

const TASK: &str = "read a persona";

/// How long before a window the ratings of a persona are its own baseline.
const BASELINE_WEEKS: i64 = 8;

/// A persona that the daemon has met.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPersona {
    /// Who the persona is.
    pub persona: line::Persona,
    /// When the daemon first met the persona, by mana-auth's time.
    pub first_at: Timestamp,
    /// When the persona was last due or began a run, to the hour.
    pub last_at: Timestamp,
}

/// A run of a persona.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaRun {
    /// The run.
    pub run: FoundRun,
    /// What the run says about each module that it used or rated, by module.
    pub ratings: Vec<RunRating>,
}

/// What a run says about a module, without the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRating {
    /// The name of the module.
    pub module: String,
    /// The rating, 1 to 5.
    pub rating: Option<u8>,
    /// Whether the rating names at least one call of the module in the run.
    pub grounded: bool,
    /// Why there is no rating.
    pub unrated_why: Option<UnratedWhy>,
}

/// How a persona has rated a module in a window and in the eight weeks before. Only grounded ratings count.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRating {
    /// The name of the module.
    pub module: String,
    /// The mean and the number of the ratings before the window; `None` if there are none.
    pub before: Option<(f64, u32)>,
    /// The mean and the number of the ratings in the window; `None` if there are none.
    pub within: Option<(f64, u32)>,
}

impl Journal {
    /// The persona with this id.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn persona(&self, id: &str) -> Result<Option<KnownPersona>> {
        let rows = self.rows(TASK, "SELECT * FROM personas WHERE id = $1", vec![text(id)]).await?;
        let read = |row: &Row| {
            let time = |column| row.time(column).ok_or("there is no such time");
            let (first_at, last_at) = (time("first_at")?, time("last_at")?);
            Ok(KnownPersona { persona: facts::read_persona(row)?, first_at, last_at })
        };
        Ok(self.readable("a persona", &rows, read).pop())
    }

    /// The runs of a persona on these days (first and last), a part of at most `limit` runs.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn runs_of_persona(
        &self,
        id: &str,
        of: (Date, Date),
        part: Part,
        limit: u32,
    ) -> Result<Page<PersonaRun>> {
        let filter =
            RunFilter { persona: Some(id.to_owned()), days: Some(of), ..RunFilter::default() };
        let found = self.find_runs(&filter, part, limit).await?;
        let mut ratings = self.ratings_of_runs(&found.items).await?;
        let with_ratings = |run: FoundRun| {
            let ratings = ratings.remove(&run.id.to_string()).unwrap_or_default();
            PersonaRun { run, ratings }
        };
        let Page { items, has_newer, has_older } = found;
        Ok(Page { items: items.into_iter().map(with_ratings).collect(), has_newer, has_older })
    }

    async fn ratings_of_runs(&self, runs: &[FoundRun]) -> Result<HashMap<String, Vec<RunRating>>> {
        let places: Vec<_> = (1..=runs.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT run_id, module, rating, grounded, unrated_why FROM run_modules \
             WHERE run_id IN ({}) ORDER BY run_id, module",
            places.join(", ")
        );
        let rows = self.rows(TASK, sql, runs.iter().map(|run| text(run.id)).collect()).await?;
        let mut ratings = HashMap::<_, Vec<_>>::new();
        for (run, rating) in self.readable("a rating", &rows, rating) {
            ratings.entry(run).or_default().push(rating);
        }
        Ok(ratings)
    }

    /// The noted absences of a persona on these days (first and last), the latest first. Absences that follow from a
    /// pause or a stop of the model are not among them.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn absences_of_persona(
        &self,
        id: &str,
        of: (Date, Date),
    ) -> Result<Vec<line::Absence>> {
        let sql = "SELECT slot, persona_id, why FROM absences WHERE slot >= $1 AND slot < $2 \
             AND persona_id = $3 ORDER BY slot DESC LIMIT $4";
        let mut values = facts::slots(Some(of));
        values.extend([text(id), number(MOST)]);
        let rows = self.rows(TASK, sql, values).await?;
        Ok(self.readable("an absence", &rows, facts::read_absence))
    }

    /// How a persona has rated modules on these days (first and last), and in the eight weeks before them; by module.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn own_ratings(&self, id: &str, of: (Date, Date)) -> Result<Vec<OwnRating>> {
        let (from, to) = of;
        let zone = self.time_zone().await?;
        let mut values = days((from.saturating_sub(BASELINE_WEEKS.weeks()), to), &zone);
        values.extend(days(of, &zone).into_iter().take(1));
        values.extend([text(id), number(MOST)]);
        let sql = format!(
            "SELECT fact.module, \
             CASE WHEN COALESCE(runs.server_time, runs.server_at) < $3 THEN 0 ELSE 1 END AS is_within, \
             COUNT(*) AS ratings, CAST(SUM(fact.rating) AS BIGINT) AS total \
             FROM runs JOIN run_modules AS fact ON fact.run_id = runs.id \
             WHERE {OF_DAYS} AND runs.persona_id = $4 AND fact.grounded = 1 AND fact.rating IS NOT NULL \
             GROUP BY fact.module, is_within ORDER BY fact.module, is_within LIMIT $5"
        );
        let mut own = Vec::<OwnRating>::new();
        for row in self.rows(TASK, sql, values).await? {
            let (Ok(module), ratings) = (row.text("module"), row.count::<u32>("ratings")) else {
                continue;
            };
            if own.last().is_none_or(|last| last.module != module) {
                own.push(OwnRating { module, before: None, within: None });
            }
            let mean = f64::from(row.count::<u32>("total")) / f64::from(ratings.max(1));
            if let Some(last) = own.last_mut() {
                let side = if row.flag("is_within") { &mut last.within } else { &mut last.before };
                *side = Some((mean, ratings));
            }
        }
        Ok(own)
    }
}

fn rating(row: &Row) -> std::result::Result<(String, RunRating), String> {
    let rating = RunRating {
        module: row.text("module")?,
        rating: row.number("rating").and_then(|rating| rating.try_into().ok()),
        grounded: row.flag("grounded"),
        unrated_why: row.text("unrated_why").ok().and_then(|word| UnratedWhy::parse(&word)),
    };
    Ok((row.text("run_id")?, rating))
}
