//! `--healthcheck`: asks the daemon on this machine for /health, so that an image needs no curl.

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

/// Below the interval at which Docker asks.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest head of an answer that is read, in bytes.
const HEAD: u64 = 4_096;

/// Whether the daemon that listens as configured answers /health with 200.
///
/// # Errors
/// When it cannot be reached, does not answer in 3 s, or answers something else.
pub async fn healthcheck(listen: SocketAddr) -> io::Result<()> {
    // The address under which a listener can be reached from here.
    let host = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let asked = timeout(LIMIT, ask(SocketAddr::new(host, listen.port()))).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
