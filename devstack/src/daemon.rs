//! The compiled daemon as a child process, and what /proc says of a process: for the programs that
//! measure it.

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

/// Until it listens and is healthy.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection to it may be idle and is used again.
const KEPT_IDLE: Duration = Duration::from_secs(4);
/// Lines of its log that are kept.
const KEPT_LINES: usize = 40;

/// A daemon that is running. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// A client for its endpoints.
    pub client: Client,
    /// Where it listens, without a trailing slash.
    pub url: String,
    /// From its start to its first healthy answer.
    pub started_in: Duration,
    log: Log,
}

/// The last lines of a log that are worth reading: warnings, errors, panics.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Daemon {
    /// Starts `program` with these variables and no others on a free port, and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        program: &Path,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> io::Result<Self> {
        // The daemon closes a connection that is idle for ten seconds, perhaps in the very moment the next
        // request goes out on it.
        let client = Client::builder().no_proxy().pool_idle_timeout(KEPT_IDLE);
        let client = client.build().map_err(io::Error::other)?;
        let log = Log::default();
        let started = Instant::now();
        let mut child = Command::new(program)
            .env_clear()
            .envs(variables)
            .env("PORT", "0")
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
        // Read to its end: a daemon whose log nobody reads waits for a reader.
        tokio::spawn(log.clone().follow(lines));
        Ok(Self { child, client, url, started_in, log })
    }

    /// What /proc says of it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process(&self) -> io::Result<Process> {
        let pid = self.child.id().ok_or_else(|| io::Error::other("the daemon has ended"))?;
        Ok(Process(format!("/proc/{pid}").into()))
    }

    /// The last warnings and errors of its log.
    pub fn last_words(&self) -> Vec<String> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The value of a metric, its labels written as it shows them; `None` where there is none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, series: &str) -> reqwest::Result<Option<f64>> {
        let answer = self.client.get(format!("{}/metrics", self.url)).send().await?;
        let text = answer.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Asks it to stop and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be asked or does not go within `limit`.
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

/// Where it says that it listens.
async fn listening(log: &mut Lines<BufReader<ChildStdout>>) -> io::Result<String> {
    while let Some(line) = log.next_line().await? {
        if let Some((_, rest)) = line.split_once("listening on ") {
            return Ok(rest.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
    Err(io::Error::other("the daemon ended at its start"))
}

/// Sends SIGTERM to a child and waits until it is gone.
///
/// # Errors
/// When it cannot be sent or the child does not go within `limit`.
pub async fn terminate(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let pid = child.id().ok_or_else(|| io::Error::other("it has ended already"))?.to_string();
    Command::new("kill").args(["-s", "TERM", &pid]).status().await?;
    timeout(limit, child.wait()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// A process as /proc shows it.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

impl Process {
    /// This one.
    pub fn this() -> Self {
        Self("/proc/self".into())
    }

    /// Memory in use, in MB.
    ///
    /// # Errors
    /// Here and below: when the process has ended.
    pub fn memory(&self) -> io::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most memory that was ever in use, in MB.
    pub fn peak_memory(&self) -> io::Result<f64> {
        self.status("VmHWM:")
    }

    /// CPU time of all its threads so far, those that have ended excepted.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(self.0.join("task"))? {
            // A thread may end while it is looked at.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(unreadable)?);
        }
        Ok(total)
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.0.join("fd"))?.count())
    }

    /// A field of `status` that is a size.
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
    async fn a_child_that_is_told_to_stop_is_waited_for() {
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
