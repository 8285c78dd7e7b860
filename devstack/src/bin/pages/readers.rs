//! People who read the page while runs go on.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::{Client, header::ACCEPT};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{Problem, measured::Measured, routes};

/// How many walk the routes.
const READERS: usize = 20;
/// How many follow the stream of calls.
const STREAMS: usize = 8;
/// Pause of the slow reader between two bytes.
const A_BYTE: Duration = Duration::from_secs(1);
/// Size of the slow reader's receive buffer, in bytes.
const BUFFER: u32 = 4_096;

/// The tasks of all readers.
pub(crate) struct Readers {
    stop: CancellationToken,
    tasks: JoinSet<Result<Read, Problem>>,
}

/// What readers got.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// How long each page took.
    pub took: Measured,
    /// How many answers had which status.
    pub statuses: BTreeMap<u16, usize>,
    /// Number of events of all streams, with those that keep them alive.
    pub events: usize,
}

impl Readers {
    /// Starts them. Each pauses so long after each page.
    pub(crate) fn start(url: &str, address: SocketAddr, pause: Duration) -> Result<Self, Problem> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 0..READERS {
            tasks.spawn(walk(client()?, url.to_owned(), number, pause, stop.clone()));
        }
        for _ in 0..STREAMS {
            tasks.spawn(follow(client()?, format!("{url}/ui/live"), stop.clone()));
        }
        tasks.spawn(creep(address, stop.clone()));
        Ok(Self { stop, tasks })
    }

    /// Lets them go; returns what all of them got.
    pub(crate) async fn stop(mut self) -> Result<Read, Problem> {
        self.stop.cancel();
        let mut all = Read::default();
        while let Some(read) = self.tasks.join_next().await {
            let read = read??;
            all.took = all.took.with(&read.took);
            all.events += read.events;
            for (status, count) in read.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
        }
        Ok(all)
    }
}

fn client() -> reqwest::Result<Client> {
    // As in `devstack::daemon`: before the daemon closes the connection.
    Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(4)).build()
}

/// Asks all routes one after the other, each reader from another one on.
async fn walk(
    client: Client,
    url: String,
    number: usize,
    pause: Duration,
    stop: CancellationToken,
) -> Result<Read, Problem> {
    let (mut read, mut took) = (Read::default(), Vec::new());
    let walk = async {
        loop {
            let routes = routes::all(&client, &url, &[]).await?;
            let begin = number * routes.len() / READERS;
            for route in routes.iter().cycle().skip(begin).take(routes.len()) {
                let started = Instant::now();
                let answer = client.get(route.url.clone()).send().await?;
                *read.statuses.entry(answer.status().as_u16()).or_default() += 1;
                answer.bytes().await?;
                took.push(started.elapsed());
                sleep(pause).await;
            }
        }
    };
    let ended: Option<Result<(), Problem>> = stop.run_until_cancelled(walk).await;
    ended.transpose()?;
    read.took = took.into();
    Ok(read)
}

/// Follows the stream of calls.
async fn follow(client: Client, url: String, stop: CancellationToken) -> Result<Read, Problem> {
    let mut read = Read::default();
    let mut answer = client.get(url).header(ACCEPT, "text/event-stream").send().await?;
    *read.statuses.entry(answer.status().as_u16()).or_default() += 1;
    let mut last = 0;
    // An event ends with an empty line.
    while let Some(Some(chunk)) = stop.run_until_cancelled(answer.chunk()).await.transpose()? {
        for byte in chunk {
            read.events += usize::from([last, byte] == *b"\n\n");
            last = byte;
        }
    }
    Ok(read)
}

/// Reads a long answer, a byte a second.
async fn creep(address: SocketAddr, stop: CancellationToken) -> Result<Read, Problem> {
    let read = async {
        loop {
            let mut stream = connect(address).await?;
            let mut byte = [0];
            // The daemon may close a connection that takes so long. Then the answer is asked for again.
            while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                sleep(A_BYTE).await;
            }
        }
    };
    let ended: Option<io::Result<()>> = stop.run_until_cancelled(read).await;
    ended.transpose()?;
    Ok(Read::default())
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    let mut stream = socket.connect(address).await?;
    let request = format!("GET /ui/personas.json HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}
