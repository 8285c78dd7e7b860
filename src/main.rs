//! The entry point of the process: reads the arguments and the environment, handles signals, sets the exit
//! code.

use std::{fmt::Display, io, process::ExitCode};

use mana_persona_runner::{
    app::{App, PlanError, ProcessEnd, StartError, plan_tick},
    cli::{self, Request},
    clock::Clock,
    config::{Config, LogFormat, Problem},
    descriptors,
    domain::Redactor,
    healthcheck::healthcheck,
    journal::JournalError,
    signals::Signals,
    telemetry, version,
};

/// Exit code EX_CONFIG of sysexits.h: the configuration is invalid.
const EX_CONFIG: u8 = 78;

/// Why the process exits with an error, and its exit code. The text is written to standard error.
struct Failure {
    code: u8,
    what: String,
    problems: Vec<Problem>,
}

impl Failure {
    /// Writes the failure to standard error, and returns its exit code.
    fn tell(&self, format: LogFormat) -> ExitCode {
        telemetry::complain(format, &self.what, &self.problems);
        ExitCode::from(self.code)
    }
}

fn failure(code: u8, what: impl ToString) -> Failure {
    Failure { code, what: what.to_string(), problems: Vec::new() }
}

/// Makes a failure with exit code 1 from an error. `what` says which operation failed.
fn because<E: Display>(what: &str) -> impl FnOnce(E) -> Failure {
    move |error| failure(1, format!("{what}: {error}"))
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self { code: EX_CONFIG, what: "bad configuration:".into(), problems }
    }
}

fn main() -> ExitCode {
    run().unwrap_or_else(|failure| failure.tell(LogFormat::from_env()))
}

fn run() -> Result<ExitCode, Failure> {
    let request = cli::parse(std::env::args_os()).map_err(|usage| failure(cli::EX_USAGE, usage))?;
    // The runs mostly wait for peers, so two threads are enough for hundreds of personas.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(because("the async runtime cannot be started"))?;
    let ended = runtime.block_on(async {
        match request {
            Request::Print(text) => match cli::write(&mut io::stdout(), &text) {
                Ok(()) => Ok(ExitCode::SUCCESS),
                Err(_) => Ok(ExitCode::FAILURE),
            },
            Request::Query(question) => Ok(cli::run(&question, &Config::data_dir_from_env()).await),
            // A person typed the command, so an error is plain text, whatever LOG_FORMAT is set.
            Request::Plan(asked) => {
                Ok(plan(&asked).await.unwrap_or_else(|failure| failure.tell(LogFormat::Text)))
            }
            Request::Healthcheck => {
                let healthy = healthcheck(Config::listen_from_env()?).await;
                healthy.map(|()| ExitCode::SUCCESS).map_err(because("unhealthy"))
            }
            Request::Serve => serve(Config::from_env()?).await,
        }
    });
    // Not a plain drop: that would wait for a name lookup that hangs in a blocking thread.
    runtime.shutdown_background();
    ended
}

async fn plan(asked: &cli::Plan) -> Result<ExitCode, Failure> {
    let plan = plan_tick(&Config::for_plan_from_env()?, &Clock::system()).await;
    let plan = plan.map_err(|error| match error {
        PlanError::Journal(JournalError::Unfit { .. }) => failure(EX_CONFIG, error),
        _ => failure(1, error),
    })?;
    Ok(cli::print_plan(&plan, asked))
}

#[expect(clippy::disallowed_methods, reason = "signals are heeded until the end")]
async fn serve(config: Config) -> Result<ExitCode, Failure> {
    let _last_lines = telemetry::init(&config.log, Redactor::new(config.secrets()))
        .map_err(because("logging cannot be started"))?;
    descriptors::raise_limit();
    tracing::info!(version = version::VERSION_AND_COMMIT, config = ?config, "starting");
    // A signal that arrives from here on is kept until the daemon can react to it.
    let signals = Signals::listen().map_err(because("signals cannot be received"))?;
    let app = App::build(config, Clock::system()).await.map_err(|error| match error {
        StartError::Pricing(_)
        | StartError::Journal(JournalError::Unfit { .. } | JournalError::Newer { .. }) => {
            failure(EX_CONFIG, error)
        }
        _ => failure(1, error),
    })?;
    let address = app.local_addr().map_err(because("the bound address is unknown"))?;
    tracing::info!(%address, "listening on http://{address}");
    tokio::spawn(signals.stop(app.shutdown()));
    Ok(match app.run().await {
        ProcessEnd::Drained => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        ProcessEnd::Forced | ProcessEnd::Broken => ExitCode::FAILURE,
    })
}
