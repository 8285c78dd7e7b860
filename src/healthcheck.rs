//! The option `--healthcheck`: requests /health of the daemon on this machine, so that an image needs no
//! curl.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Timeout of the whole check. It is shorter than the interval between two checks of Docker.
const LIMIT: Duration = Duration::from_secs(3);
/// How many bytes of the answer are read at most. The status line is in the first few.
const HEAD: u64 = 4_096;

/// Checks that the daemon that listens on `listen` answers /health with status 200.
///
/// # Errors
/// If the daemon cannot be reached, does not answer within 3 s, or answers with another status.
pub async fn healthcheck(listen: SocketAddr) -> io::Result<()> {
    // A listener on an unspecified address, such as 0.0.0.0, is reached at the loopback address.
    let host = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    timeout(LIMIT, ask(SocketAddr::new(host, listen.port()))).await?
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    stream.take(HEAD).read_to_end(&mut head).await?;
    if head.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::Error::other("the answer to /health is not 200"))
}
