//! The crash test's command line.

use std::{path::PathBuf, time::Duration};

/// The help text of the command line.
pub(crate) const USAGE: &str = "\
usage: crash [options] PATH_OF_THE_DAEMON
  --kills N        how often the daemon is killed (100)
  --seed N         of everything that is left to chance (1)
  --signal kill|term|both
                   kill -9, SIGTERM, or SIGTERM and soon after it kill -9 (kill)
  --auth-faults    mana-auth fails half of the time: 503, timeouts, resets
  --clock-steps    the daemon's clock is stepped an hour forth and back; the daemon then runs in this
                   process, on a runtime of its own that is torn down instead of killed, because only
                   there its clock can be moved
  --limit SECONDS  gives up after this long (600)";

/// The signal that ends the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGKILL: the process ends without any cleanup.
    Kill,
    /// SIGTERM: the daemon is asked to stop.
    Term,
    /// SIGTERM and soon after it SIGKILL, within the grace period.
    Both,
}

/// The parsed command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Path of the compiled daemon; unused if the daemon runs in this process.
    pub daemon: PathBuf,
    /// How many times the daemon is killed.
    pub kills: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The signal that ends the daemon.
    pub signal: Signal,
    /// Whether mana-auth fails half of the time.
    pub auth_faults: bool,
    /// Whether the daemon's clock is stepped forth and back.
    pub clock_steps: bool,
    /// Time limit for the whole test.
    pub limit: Duration,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// The help text, if the arguments are invalid.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut options = Self {
            daemon: PathBuf::new(),
            kills: 100,
            seed: 1,
            signal: Signal::Kill,
            auth_faults: false,
            clock_steps: false,
            limit: Duration::from_secs(600),
        };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|text| text.parse::<u64>().ok()).ok_or(USAGE);
            match arg.as_str() {
                "--kills" => options.kills = usize::try_from(number()?).map_err(|_| USAGE)?,
                "--seed" => options.seed = number()?,
                "--limit" => options.limit = Duration::from_secs(number()?),
                "--auth-faults" => options.auth_faults = true,
                "--clock-steps" => options.clock_steps = true,
                "--signal" => {
                    options.signal = match args.next().as_deref() {
                        Some("kill") => Signal::Kill,
                        Some("term") => Signal::Term,
                        Some("both") => Signal::Both,
                        _ => return Err(USAGE),
                    }
                }
                _ if arg.starts_with('-') || options.daemon != PathBuf::new() => return Err(USAGE),
                _ => options.daemon = arg.into(),
            }
        }
        if options.daemon == PathBuf::new() && !options.clock_steps {
            return Err(USAGE);
        }
        if options.clock_steps && options.signal != Signal::Kill {
            return Err("--clock-steps goes with --signal kill only");
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Options, &'static str> {
        Options::from_args(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn a_path_is_needed_unless_the_daemon_runs_in_this_process() {
        assert_eq!(read(&[]).unwrap_err(), USAGE);
        assert_eq!(read(&["daemon"]).unwrap().kills, 100);
        assert!(read(&["--clock-steps"]).unwrap().clock_steps);
    }

    #[test]
    fn a_wrong_argument_is_refused() {
        for bad in [&["--kills"][..], &["--kills", "x"], &["a", "b"], &["a", "--what"]] {
            assert_eq!(read(bad).unwrap_err(), USAGE);
        }
        let term = read(&["a", "--signal", "term", "--kills", "3", "--auth-faults"]).unwrap();
        assert_eq!((term.signal, term.kills, term.auth_faults), (Signal::Term, 3, true));
    }
}
