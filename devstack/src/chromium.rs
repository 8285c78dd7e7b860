//! Debian's Chromium, driven through chromedriver: for the tests of the page.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

pub use thirtyfour;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, LoggingPrefsLogLevel, WebDriver,
    error::WebDriverResult,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// The program of Debian's package chromium-driver. It finds Chromium by itself.
const DRIVER: &str = "chromedriver";
/// Longest time until the driver has begun to listen.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time of one command. A page is loaded within one.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Longest time until the driver has ended its browser.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Nothing but this machine is reached: no name has an address.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,900",
];

/// A browser with a fresh profile. The browser and its driver end when this is dropped, also in a panic.
#[derive(Debug)]
pub struct Chromium {
    /// The session of the browser.
    pub session: WebDriver,
    _driver: Driver,
}

/// The process of a driver, and the folder for everything that it and its browser write.
#[derive(Debug)]
struct Driver {
    port: u16,
    _process: Child,
    folder: PathBuf,
}

impl Chromium {
    /// Starts a driver on a free port, and through it a browser that logs what pages print and request.
    ///
    /// # Errors
    /// When chromedriver or Chromium is missing or does not start.
    pub async fn start() -> io::Result<Self> {
        let driver = Driver::start().await?;
        // A proxy of the environment is not for this machine.
        let client = reqwest::Client::builder().no_proxy().timeout(COMMAND_LIMIT).build();
        let url = format!("http://{}", driver.address());
        let session = WebDriver::builder(url, capabilities().map_err(io::Error::other)?)
            .client(client.map_err(io::Error::other)?)
            .connect()
            .await
            .map_err(io::Error::other)?;
        // The driver ends the browser when it ends itself; the session need not do it.
        session.clone().leak().map_err(io::Error::other)?;
        Ok(Self { session, _driver: driver })
    }
}

impl Driver {
    async fn start() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mana-browser-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&folder)?;
        let process = Command::new(DRIVER)
            .arg("--port=0")
            .env("TMPDIR", &folder)
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = process.map_err(|error| {
            let help = "Debian's packages chromium and chromium-driver are needed";
            io::Error::new(error.kind(), format!("{DRIVER}: {error}; {help}"))
        })?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut lines = BufReader::new(output).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').parse().map_err(io::Error::other);
                }
            }
            Err(io::Error::other(format!("{DRIVER} ended at its start")))
        };
        let port = timeout(START_LIMIT, listening).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Self { port, _process: process, folder })
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Makes the driver end its browsers and itself, and waits for its answer.
    fn shut_down(&self) -> io::Result<()> {
        let mut connection = TcpStream::connect_timeout(&self.address(), END_LIMIT)?;
        connection.set_read_timeout(Some(END_LIMIT))?;
        connection.write_all(b"GET /shutdown HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        connection.read_exact(&mut [0])
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            eprintln!("{DRIVER}: {error}; its browser may still run");
        }
        // A browser may still be writing there; what is left is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn capabilities() -> WebDriverResult<ChromeCapabilities> {
    let mut capabilities = ChromeCapabilities::new();
    for argument in ARGUMENTS {
        capabilities.add_arg(argument)?;
    }
    // Chromium refuses to start a sandbox for root.
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        capabilities.add_arg("--no-sandbox")?;
    }
    // What pages print, and what they request.
    for log in ["browser", "performance"] {
        capabilities.set_logging_prefs(log, LoggingPrefsLogLevel::All)?;
    }
    Ok(capabilities)
}
