//! The load generator wrk.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::process::Command;

use crate::error::Error;

const CONNECTIONS: usize = 32;

/// Asks for one path over keep-alive connections, as fast as it can, and says how many answers came.
pub async fn load(address: SocketAddr, path: &str, seconds: u64) -> Result<u64, Error> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", &CONNECTIONS.to_string(), "-d", &format!("{seconds}s")]);
    command.arg(format!("http://{address}{path}")).stdin(Stdio::null()).kill_on_drop(true);
    let missing =
        |error| Error::Missing { program: "wrk".into(), error, hint: "install it: apt-get install wrk" };
    let output = command.output().await.map_err(missing)?;
    answers(&String::from_utf8_lossy(&output.stdout))
}

/// Reads wrk's report.
fn answers(text: &str) -> Result<u64, Error> {
    let trouble = |line: &&str| line.contains("Non-2xx") || line.contains("Socket errors");
    if let Some(line) = text.lines().find(trouble) {
        return Err(Error::Errors { what: "wrk's requests", count: 1, first: line.trim().to_owned() });
    }
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    count
        .filter(|count| *count > 0)
        .ok_or(Error::Unreadable { what: "wrk's report".into(), why: "it counts no requests" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_the_report_and_errors_are_errors() {
        let good =
            "Running 1s test\n  1 threads\n  56911 requests in 1.10s, 4.01GB read\nRequests/sec: 51.7\n";
        assert_eq!(answers(good).unwrap(), 56_911);
        assert!(answers(&format!("{good}  Non-2xx or 3xx responses: 9\n")).is_err());
        assert!(answers(&format!("{good}  Socket errors: connect 0, read 1, write 0, timeout 0\n")).is_err());
        assert!(answers("").is_err());
    }
}
