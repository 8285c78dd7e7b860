//! Weeks of the ten personas, which pass within a minute, and the report of the last one.

mod calendar;
mod found;

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use calendar::Calendar;
use devstack::{
    Devstack, catalog,
    claude::ClaudeOptions,
    clock::Clock as PeerClock,
    story::{self, Event},
};
use found::Found;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use mana_persona_runner::{
    app::App,
    clock::Clock,
    domain::{Week, derive_password},
};

use crate::{SEED_SECRET, config, fire_tick, report::look};

/// The zone of the journal: its dates are the days, and its Monday at six is when the report is written.
const ZONE: &str = "Europe/Berlin";
/// A persona is due more than a day after its last run.
const MORE_THAN_A_DAY: Duration = Duration::from_secs(24 * 3600 + 1);

/// Lives the `weeks` weeks before this one and shows the report of the last of them, and with `page` the page until
/// Ctrl-C; returns whether no run failed.
pub(crate) async fn run(weeks: u8, page: bool) -> Result<bool, Box<dyn Error>> {
    let begun = Instant::now();
    let calendar = Calendar::up_to(Timestamp::now(), weeks, TimeZone::get(ZONE)?);
    let start = calendar.start()?;
    let peers = start_peers(start).await?;
    let folder = std::env::temp_dir().join(format!("mana-demo-{}", uuid::Uuid::now_v7()));
    let clock = Clock::manual(start);
    let app = App::build(config(&variables(&folder), &peers)?, clock.clone()).await?;
    let url = format!("http://{}", app.local_addr()?);
    let shutdown = app.shutdown();
    let daemon = tokio::spawn(app.run());

    let weeks = count(weeks.into(), "week");
    println!("{weeks} of ten personas; all that the daemon keeps is in {}\n", folder.display());
    let mut life = Life { peers, clock, url, calls: 0, problems: Vec::new() };
    let report = match life.pass(&calendar).await {
        Ok(()) => Found::wait_for(&folder, calendar.last_week()).await,
        Err(error) => Err(error),
    };
    println!("\n{weeks} took {:.0} s. {}", begun.elapsed().as_secs_f64(), report?);
    life.problems.extend(life.peers.claude.violations());
    for problem in &life.problems {
        println!("FAILED {problem}");
    }
    if page {
        println!("{}", look(&life.url));
        tokio::signal::ctrl_c().await?;
    }
    shutdown.stop();
    daemon.await?;
    Ok(life.problems.is_empty())
}

/// Starts the peers at this time, with the product and the personas of the story.
async fn start_peers(start: Timestamp) -> Result<Devstack, Box<dyn Error>> {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let options = devstack::Options { claude, ..devstack::Options::default() };
    let peers = Devstack::start(options, PeerClock::starting_at(start)).await?;
    // Nobody reads the requests, and those of weeks would fill the memory.
    peers.stop_recording();
    peers.auth.seed(&catalog::personas(), |email| derive_password(SEED_SECRET, email)).await?;
    story::begin(&peers)?;
    Ok(peers)
}

/// The variables of a daemon that keeps what it learns in this folder.
fn variables(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("RUNNER_DATA_DIR", folder.to_string_lossy().into_owned()),
        ("PERSONA_CONCURRENCY", "10".into()),
        ("TZ", ZONE.into()),
    ]
}

/// The personas' life: the peers, and the daemon that plays them.
struct Life {
    peers: Devstack,
    /// The clock of the daemon.
    clock: Clock,
    /// The daemon's base URL.
    url: String,
    /// Number of calls of the days before.
    calls: usize,
    /// What should not have happened, and when.
    problems: Vec<String>,
}

impl Life {
    /// Lives all weeks, and the morning after them.
    async fn pass(&mut self, calendar: &Calendar) -> Result<(), Box<dyn Error>> {
        for date in calendar.days() {
            let week = Week::of(date);
            if date == week.monday() {
                println!("{week}");
            }
            let happens = Event::on(date.weekday()).filter(|_| week == calendar.last_week());
            self.live(date, happens).await?;
        }
        let rest = calendar.end()?.duration_since(self.peers.clock.calendar());
        self.wait(rest.try_into()?);
        // The first answer of /due on Monday tells the daemon that the week is over.
        self.tick(calendar.last_week().sunday().tomorrow()?, None).await?;
        Ok(())
    }

    /// Lives a day, on which something may happen in the product, and prints what came of it.
    async fn live(&mut self, date: Date, event: Option<Event>) -> Result<(), Box<dyn Error>> {
        self.wait(MORE_THAN_A_DAY);
        if let Some(event) = event {
            event.prepare(&self.peers);
            println!("       {}", event.told());
        }
        let ran = self.tick(date, event).await?;
        let calls = self.peers.mcp.calls();
        let of_day = calls.get(self.calls..).unwrap_or_default();
        let failed = of_day.iter().filter(|call| call.is_error != Some(false)).count();
        let (personas, of_day) = (count(ran, "persona"), count(of_day.len() as u64, "call"));
        println!("  {}  {personas}, {of_day}, {failed} failed", date.strftime("%a"));
        self.calls = calls.len();
        Ok(())
    }

    /// Lets everyone who is due live a day; returns how many did.
    async fn tick(&mut self, date: Date, event: Option<Event>) -> Result<u64, Box<dyn Error>> {
        let happening = async {
            if let Some(event) = event {
                event.strike(&self.peers, |by| self.clock.advance(by)).await;
            }
        };
        let tick = fire_tick(&self.url);
        tokio::pin!(tick);
        let answer = tokio::select! {
            // The day may be over before everything has happened.
            answer = &mut tick => answer?,
            () = happening => tick.await?,
        };
        let result = &answer["result"];
        let ran = result["ranSuccessfully"].as_u64().ok_or_else(|| format!("{date}: {answer}"))?;
        for failed in result["failed"].as_array().into_iter().flatten() {
            let [persona, error] = ["persona", "error"].map(|name| failed[name].as_str());
            let (persona, error) = (persona.unwrap_or("?"), error.unwrap_or("?"));
            self.problems.push(format!("{date} {persona}: {error}"));
        }
        Ok(ran)
    }

    /// Lets time pass, for the peers and for the daemon.
    fn wait(&self, by: Duration) {
        self.peers.clock.advance(by);
        self.clock.advance(by);
    }
}

/// `1 call`, `2 calls`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let counted = [0, 1, 2].map(|number| count(number, "week"));
        assert_eq!(counted, ["0 weeks", "1 week", "2 weeks"]);
    }
}
