use std::io::{Read, Result, Write};

/// To the greeting, to the first GET, to the second.
const ANSWERS: [&[u8]; 3] = [b"+OK\r\n+OK\r\n", b"-LOADING the dataset in memory\r\n", b"$5\r\nhello\r\n"];

/// Serves one connection of redis on a free port, and returns the URL.
pub fn redis_server() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("redis://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        let mut client = listener.accept()?.0;
        ANSWERS.iter().try_for_each(|answer| client.read(&mut [0; 1024]).and_then(|_| client.write_all(answer)))
    });
    Ok(url)
}
