//! Demonstrates the persona runner: ten personas, three embedded peers, one tick, and a report of the result.

mod options;
mod progress;
mod report;
mod weeks;

use std::{error::Error, process::ExitCode, time::Duration};

use devstack::{
    Devstack, catalog,
    claude::ClaudeOptions,
    clock::Clock as PeerClock,
    story::{self, Event},
};
use jiff::{Timestamp, ToSpan, civil::Weekday, tz::TimeZone};
use mana_persona_runner::{
    app::App, clock::Clock, config::Config, domain::derive_password, telemetry,
};
use options::Options;
use report::Report;
use serde_json::Value;

/// The secret from which the passwords of the demo's personas are derived.
const SEED_SECRET: &str = "demo-seed-secret";
/// Latency of the scripted model, so that the calls appear one after another on the screen.
const MODEL_LATENCY: Duration = Duration::from_millis(250);

#[tokio::main]
async fn main() -> ExitCode {
    let options =
        match Options::from_args(std::env::args().skip(1), |name| std::env::var(name).ok()) {
            Ok(options) => options,
            Err(text) => {
                eprintln!("{text}");
                return ExitCode::from(64);
            }
        };
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo; returns whether every persona completed its run.
async fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    println!("{}\n", options.headline());
    if let Some(weeks) = options.weeks {
        return weeks::run(weeks, options.page).await;
    }
    let claude = ClaudeOptions { latency: MODEL_LATENCY, ..ClaudeOptions::default() };
    let peers = devstack::Options { claude, ..devstack::Options::default() };
    let peers =
        Devstack::start(peers, PeerClock::starting_at(working_day(Timestamp::now())?)).await?;
    let personas = catalog::personas();
    let users = peers.auth.seed(&personas, |email| derive_password(SEED_SECRET, email)).await?;
    // Some of its tools fail, so that there is something that hurts.
    story::begin(&peers)?;
    Event::Regression.prepare(&peers);

    let config = config(&options.variables, &peers)?;
    if std::env::var_os("RUST_LOG").is_some() {
        // The log lines that are dropped at the end do not matter: the report has been printed.
        let _ = telemetry::init(&config.log, Default::default())?;
    }
    let app = App::build(config, Clock::system()).await?;
    let url = format!("http://{}", app.local_addr()?);
    let shutdown = app.shutdown();
    let daemon = tokio::spawn(app.run());

    println!("Seeded {} personas; firing a tick: POST {url}/diag/tick\n", personas.len());
    let names = users.into_iter().zip(personas).collect::<Vec<_>>();
    let tick = fire_tick(&url);
    let answer = progress::watch(&peers, &names, tick).await?;

    let report = Report::read(&peers, &names, &answer).await;
    println!("{report}");
    if !options.once {
        println!("{}\n\n{}", report.verdict(), report::try_it(&url, &peers));
        tokio::signal::ctrl_c().await?;
        println!("\nStopping.");
    }
    shutdown.stop();
    daemon.await?;
    println!("{}", report.verdict());
    Ok(report.is_complete())
}

/// The configuration of a runner that uses these peers, on a free port, with ticks only on request.
fn config(variables: &[(&'static str, String)], peers: &Devstack) -> Result<Config, String> {
    let mut vars: Vec<(&str, String)> = vec![
        ("PORT", "0".into()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.into()),
        ("PERSONA_CONCURRENCY", "4".into()),
        ("TICK_INTERVAL_MS", "86400000".into()),
        // The page speaks as the demo does.
        ("REPORT_LANG", std::env::var("REPORT_LANG").unwrap_or_else(|_| "en".into())),
        ("PRODUCT_VERSION_URL", peers.product.version_url()),
    ];
    vars.extend(peers.environment().iter().cloned());
    for (name, value) in variables {
        vars.retain(|(known, _)| known != name);
        vars.push((name, value.clone()));
    }
    let vars = vars.into_iter().filter(|(_, value)| !value.is_empty());
    Config::from_vars(vars.map(|(name, value)| (name.into(), value.into())))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

async fn fire_tick(url: &str) -> Result<Value, Box<dyn Error>> {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("{url}/diag/tick"))
        .send()
        .await?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

/// `now`, or the Monday after it at the same time: at weekends four of the ten personas rest.
fn working_day(now: Timestamp) -> Result<Timestamp, jiff::Error> {
    let now = now.to_zoned(TimeZone::UTC);
    let days = match now.weekday() {
        Weekday::Saturday => 2,
        Weekday::Sunday => 1,
        _ => 0,
    };
    Ok(now.checked_add(days.days())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_day_becomes_a_working_day() {
        for day in 16..=22 {
            let now: Timestamp = format!("2026-11-{day}T23:30:00Z").parse().unwrap();
            let moved = working_day(now).unwrap().to_zoned(TimeZone::UTC);
            assert!(!matches!(moved.weekday(), Weekday::Saturday | Weekday::Sunday), "{moved}");
        }
    }
}
