//! The process around the daemon: arguments, environment, signals, exit code.

use std::{io, process::ExitCode};

use mana_persona_runner::{
    app::{App, Ended, StartError},
    cli::{self, Request, Unparsed},
    clock::Clock,
    config::{Config, ListenConfig, LogFormat, Problem},
    descriptors,
    domain::Redactor,
    healthcheck::healthcheck,
    journal::JournalError,
    signals::Signals,
    telemetry, version,
};

/// sysexits.h: something is wrong with the configuration.
const EX_CONFIG: u8 = 78;
/// sysexits.h: something is wrong with the command line.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let request = match cli::parse(std::env::args_os()) {
        Ok(Request::Version) => {
            return say(&format!("mana-persona-runner {}\n", version::VERSION_AND_COMMIT));
        }
        Ok(request) => request,
        Err(Unparsed::Help(help)) => return say(&help),
        Err(Unparsed::Wrong(usage)) => return fail(EX_USAGE, &usage),
    };
    // The work is waiting for peers; two threads carry hundreds of personas.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("the async runtime cannot be started: {error}")),
    };
    let code = match request {
        Request::Tell(question) => {
            runtime.block_on(cli::run(&question, &Config::data_dir_from_env()))
        }
        Request::Healthcheck => match ListenConfig::from_env() {
            Ok(listen) => match runtime.block_on(healthcheck(listen)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(1, &format!("unhealthy: {error}")),
            },
            Err(problems) => refuse(&problems),
        },
        Request::Serve | Request::Version => match Config::from_env() {
            Ok(config) => runtime.block_on(serve(config)),
            Err(problems) => refuse(&problems),
        },
    };
    // A name lookup that hangs in a thread of its own must not hold up the exit.
    runtime.shutdown_background();
    code
}

#[expect(clippy::disallowed_methods, reason = "signals are heeded until the end")]
async fn serve(config: Config) -> ExitCode {
    let _last_lines = match telemetry::init(&config.log, Redactor::new(config.secrets())) {
        Ok(last_lines) => last_lines,
        Err(error) => return fail(1, &format!("logging cannot be started: {error}")),
    };
    descriptors::raise_limit();
    tracing::info!(version = version::VERSION_AND_COMMIT, config = ?config, "starting");
    // From here on a signal is kept until the daemon can stop.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &format!("signals cannot be received: {error}")),
    };
    let (app, address) = match App::build(config, Clock::system()).await {
        Ok(app) => match app.local_addr() {
            Ok(address) => (app, address),
            Err(error) => return fail(1, &format!("the bound address is unknown: {error}")),
        },
        Err(error) => {
            let of_config = matches!(
                error,
                StartError::Pricing(_)
                    | StartError::Journal(JournalError::Unfit { .. } | JournalError::Newer { .. })
            );
            return fail(if of_config { EX_CONFIG } else { 1 }, &error.to_string());
        }
    };
    tracing::info!(%address, "listening on http://{address}");
    tokio::spawn(signals.stop(app.shutdown()));
    match app.run().await {
        Ended::Drained => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        Ended::Forced | Ended::Broken => ExitCode::FAILURE,
    }
}

fn say(text: &str) -> ExitCode {
    match cli::write(&mut io::stdout(), text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    telemetry::complain(LogFormat::from_env(), "bad configuration:", problems);
    ExitCode::from(EX_CONFIG)
}

fn fail(code: u8, text: &str) -> ExitCode {
    telemetry::complain(LogFormat::from_env(), text, &[]);
    ExitCode::from(code)
}
