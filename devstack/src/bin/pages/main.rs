//! The figures of the page /ui: how long its routes take and how large they are, and what readers of the page cost the
//! runs. Each ends with 1 where a target is missed.
//!
//! `cargo run --release --bin pages -- routes [--most-ms N] [--rest SECONDS] PATH_OF_THE_DAEMON FOLDER` asks every route
//! of the compiled daemon, which has a copy of the journal in FOLDER.
//!
//! `cargo run --release --bin pages -- load [--pause-ms N] [--rounds N] [--rest SECONDS] [FOLDER]` runs the daemon in
//! this process, with a tick of 200 personas at once, with and without readers of the page.

mod copy;
mod load;
mod measured;
mod peers;
mod phase;
mod readers;
mod routes;
mod steps;
mod timing;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

/// What can go wrong while something is measured.
type Problem = Box<dyn Error + Send + Sync>;

const USAGE: &str = "\
usage: pages routes [options] PATH_OF_THE_DAEMON FOLDER
  --most-ms N       highest p95 of a route (50)
  --rest SECONDS    how long the daemon rests before its memory is read again (0)
       pages load [options] [FOLDER]
  --pause-ms N      pause of each reader before its next page (1000)
  --rounds N        ticks without readers, and as many with them (1)
  --rest SECONDS    how long the daemon rests before its memory is read again (70)";

/// What the command line asks for.
enum Asked {
    Routes(timing::Options),
    Load(load::Options),
    /// The peers of `load`, in a process of their own.
    Peers,
}

impl Asked {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let command = args.next()?;
        let (mut most_ms, mut rest, mut pause_ms, mut rounds) = (50, None, 1_000, 1);
        let mut paths = Vec::<PathBuf>::new();
        while let Some(arg) = args.next() {
            let mut number = || args.next()?.parse::<u64>().ok();
            match (&*command, &*arg) {
                ("routes", "--most-ms") => most_ms = number()?,
                ("load", "--pause-ms") => pause_ms = number()?,
                ("load", "--rounds") => rounds = number().filter(|rounds| *rounds > 0)?,
                ("routes" | "load", "--rest") => rest = Some(Duration::from_secs(number()?)),
                _ if arg.starts_with('-') => return None,
                _ => paths.push(arg.into()),
            }
        }
        let mut paths = paths.into_iter();
        let asked = match &*command {
            "routes" => Self::Routes(timing::Options {
                daemon: paths.next()?,
                folder: paths.next()?,
                most: Duration::from_millis(most_ms),
                rest: rest.unwrap_or_default(),
            }),
            "load" => Self::Load(load::Options {
                folder: paths.next(),
                pause: Duration::from_millis(pause_ms),
                rounds,
                rest: rest.unwrap_or(Duration::from_secs(70)),
            }),
            "peers" => Self::Peers,
            _ => return None,
        };
        paths.next().is_none().then_some(asked)
    }
}

fn main() -> ExitCode {
    let result = match Asked::from_args(std::env::args().skip(1)) {
        Some(Asked::Routes(options)) => timing::run(&options),
        Some(Asked::Load(options)) => load::run(&options),
        Some(Asked::Peers) => peers::serve().map(|()| true),
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("pages: {error}");
            ExitCode::FAILURE
        }
    }
}
