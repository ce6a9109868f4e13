//! Talking to the daemon through the administrators' socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Exit;
use crate::config::Places;

/// Asks the daemon for something.
pub fn get<T: DeserializeOwned>(places: &Places, path: &str, query: &impl Serialize) -> anyhow::Result<T> {
    let query = serde_urlencoded::to_string(query)?;
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    Ok(serde_json::from_slice(&call(places, "GET", &target, b"")?)?)
}

/// Asks the daemon to do something.
pub fn post<T: DeserializeOwned>(places: &Places, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
    Ok(serde_json::from_slice(&call(places, "POST", path, &serde_json::to_vec(body)?)?)?)
}

/// Asks the daemon to do something that may take as long as reading all of history.
pub fn post_patiently<T: DeserializeOwned>(places: &Places, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
    Ok(serde_json::from_slice(&wait(places, "POST", path, &serde_json::to_vec(body)?, None)?)?)
}

fn call(places: &Places, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    wait(places, method, target, body, Some(Duration::from_secs(30)))
}

fn wait(
    places: &Places,
    method: &str,
    target: &str,
    body: &[u8],
    at_most: Option<Duration>,
) -> anyhow::Result<Vec<u8>> {
    let mut stream = connect(&places.admin_socket)?;
    stream.set_read_timeout(at_most)?;
    let (status, body) = exchange(&mut stream, method, target, body)?;
    match status {
        200 => Ok(body),
        503 => Err(unavailable(&String::from_utf8_lossy(&body))),
        _ => anyhow::bail!("{}", String::from_utf8_lossy(&body)),
    }
}

/// One request on a connection of its own: the other side answers and closes.
pub fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    target: &str,
    body: &[u8],
) -> anyhow::Result<(u16, Vec<u8>)> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // In one piece: an answer that does not wait for the body would close the connection on what is unread.
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    split(&answer).ok_or_else(|| unavailable("the answer makes no sense"))
}

fn connect(socket: &Path) -> anyhow::Result<UnixStream> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    UnixStream::connect(socket).map_err(|error| match error.kind() {
        NotFound | ConnectionRefused => unavailable(
            "the daemon is not running; `agent daemon start`, or `systemctl start git-jira-agent`, starts it",
        ),
        PermissionDenied => Exit {
            code: 77,
            because: format!("no permission to ask the daemon at {}; try as root or as its user", socket.display()),
        }
        .into(),
        _ => unavailable(&format!("cannot reach the daemon at {}: {error}", socket.display())),
    })
}

fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

fn unavailable(because: &str) -> anyhow::Error {
    Exit { code: 69, because: because.to_owned() }.into()
}
