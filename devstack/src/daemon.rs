//! The compiled daemon as a child process, and figures of a process from /proc: for the programs that measure
//! the daemon.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longest time from start to the first healthy answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Idle time after which a connection to the daemon is not used again.
const KEPT_IDLE: Duration = Duration::from_secs(4);
/// Number of lines of the daemon's log that are kept.
const KEPT_LINES: usize = 40;

/// A running daemon. Dropping it kills the process.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// An HTTP client for the daemon's endpoints.
    pub client: Client,
    /// The daemon's base URL, without a trailing slash.
    pub url: String,
    /// Time from the start of the process to its first healthy answer.
    pub started_in: Duration,
    log: Log,
}

/// The last warnings, errors and panics of a log.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Daemon {
    /// Starts `program` with these environment variables and no others, and waits until it is healthy. Unless they name
    /// a PORT, it listens on a free one.
    ///
    /// # Errors
    /// When the process cannot be started, ends early or is not healthy in time.
    pub async fn start(
        program: &Path,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> io::Result<Self> {
        // The daemon closes a connection that is idle for ten seconds, possibly at the moment when the next
        // request is sent on it. The client closes idle connections earlier.
        let client = Client::builder().no_proxy().pool_idle_timeout(KEPT_IDLE);
        let client = client.build().map_err(io::Error::other)?;
        let log = Log::default();
        let started = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .env("PORT", "0")
            .envs(variables)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let healthy = async {
            let mut lines = BufReader::new(output).lines();
            let url = listening(&mut lines).await?;
            let health = format!("{url}/health");
            loop {
                let answer = client.get(&health).send().await.map_err(io::Error::other)?;
                if answer.status().is_success() {
                    return Ok::<_, io::Error>((url, lines));
                }
            }
        };
        let (url, lines) =
            timeout(START_LIMIT, healthy).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let started_in = started.elapsed();
        // Read until the process ends: otherwise its log thread would block on the full pipe and drop lines.
        tokio::spawn(log.clone().follow(lines));
        Ok(Self { child, client, url, started_in, log })
    }

    /// The daemon's process in /proc.
    ///
    /// # Errors
    /// When the daemon has ended.
    pub fn process(&self) -> io::Result<Process> {
        let pid = self.child.id().ok_or_else(|| io::Error::other("the daemon has ended"))?;
        Ok(Process(format!("/proc/{pid}").into()))
    }

    /// The last warnings and errors of the daemon's log.
    pub fn last_words(&self) -> Vec<String> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The value of a metric; `series` has its labels in the form of /metrics. `None` if the series does not
    /// exist.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn metric(&self, series: &str) -> reqwest::Result<Option<f64>> {
        let answer = self.client.get(format!("{}/metrics", self.url)).send().await?;
        let text = answer.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Sends SIGTERM to the daemon and waits until it has ended.
    ///
    /// # Errors
    /// When the signal cannot be sent or the daemon does not end within `limit`.
    pub async fn stop(mut self, limit: Duration) -> io::Result<ExitStatus> {
        terminate(&mut self.child, limit).await
    }
}

impl Log {
    async fn follow(self, mut lines: Lines<BufReader<ChildStdout>>) {
        while let Ok(Some(line)) = lines.next_line().await {
            if ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word)) {
                let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        }
    }
}

/// Reads the log up to the line with the daemon's address, and returns the address.
async fn listening(log: &mut Lines<BufReader<ChildStdout>>) -> io::Result<String> {
    while let Some(line) = log.next_line().await? {
        if let Some((_, rest)) = line.split_once("listening on ") {
            return Ok(rest.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
    Err(io::Error::other("the daemon ended at its start"))
}

/// Sends SIGTERM to a child and waits until it has ended.
///
/// # Errors
/// When the signal cannot be sent or the child does not end within `limit`.
pub async fn terminate(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let pid = child.id().ok_or_else(|| io::Error::other("it has ended already"))?.to_string();
    Command::new("kill").args(["-s", "TERM", &pid]).status().await?;
    timeout(limit, child.wait()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// A process as described by its directory in /proc.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

impl Process {
    /// The process that calls this function.
    pub fn this() -> Self {
        Self("/proc/self".into())
    }

    /// Resident memory, in MB (10^6 bytes).
    ///
    /// # Errors
    /// When the process has ended; the same holds for the methods below.
    pub fn memory(&self) -> io::Result<f64> {
        self.status("VmRSS:")
    }

    /// Peak resident memory, in MB (10^6 bytes).
    pub fn peak_memory(&self) -> io::Result<f64> {
        self.status("VmHWM:")
    }

    /// CPU time of all current threads so far; threads that have ended are not included.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(self.0.join("task"))? {
            // A thread may end while the directory is read.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(unreadable)?);
        }
        Ok(total)
    }

    /// Number of open file descriptors.
    pub fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.0.join("fd"))?.count())
    }

    /// The value of a size field of `status`, in MB.
    fn status(&self, field: &str) -> io::Result<f64> {
        let status = fs::read_to_string(self.0.join("status"))?;
        let size = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = size.and_then(|size| size.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
        Ok(kib.ok_or_else(unreadable)? * 1024.0 / 1e6)
    }
}

fn unreadable() -> io::Error {
    io::Error::other("/proc cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_time_and_descriptors() {
        let this = Process::this();
        assert!(this.memory().unwrap() > 1.0);
        assert!(this.peak_memory().unwrap() >= this.memory().unwrap() / 2.0);
        let before = this.descriptors().unwrap();
        let _open = fs::File::open("/proc/self/status").unwrap();
        assert!(this.descriptors().unwrap() > 0 && before > 0);
        assert!(this.cpu().unwrap() > Duration::ZERO);
    }

    #[tokio::test]
    async fn terminate_waits_until_the_child_has_ended() {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let status = terminate(&mut child, Duration::from_secs(10)).await.unwrap();
        assert!(!status.success());
        assert!(terminate(&mut child, Duration::from_secs(10)).await.is_err());
    }

    #[tokio::test]
    async fn a_program_that_never_listens_is_no_daemon() {
        let error = Daemon::start(Path::new("true"), [("PATH", "/usr/bin:/bin".to_owned())]).await;
        assert!(error.unwrap_err().to_string().contains("ended at its start"));
    }
}
