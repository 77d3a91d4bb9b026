use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// Serves one connection of redis on a free port of this machine, and returns the URL. The first GET finds the server
/// loading.
pub async fn redis_server() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("redis://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let (read, mut write) = listener.accept().await?.0.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut gets = ["-LOADING Redis is loading the dataset in memory\r\n"].into_iter();
        // The name of a command has a line of its own, between lengths and arguments.
        while let Some(line) = lines.next_line().await? {
            let answer = match &*line {
                "GET" => gets.next().unwrap_or("$5\r\nhello\r\n"),
                "CLIENT" => "+OK\r\n",
                _ => continue,
            };
            write.write_all(answer.as_bytes()).await?;
        }
        io::Result::Ok(())
    });
    Ok(url)
}
