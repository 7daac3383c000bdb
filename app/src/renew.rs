//! Files that may be replaced while a node runs: certificates and their keys, the list of refused nodes.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// How often it is looked whether a file has changed (EDGE-41).
const EVERY: Duration = Duration::from_secs(5);

/// What tells a file from what it was: when it was written, and how long it is; nothing, where it cannot be looked at.
type Stamp = Vec<Option<(SystemTime, u64)>>;

/// Follows what is read of these files, which is `first` now. What cannot be read is said, and changes nothing. Needs a
/// Tokio runtime around it; ends when nobody listens any more.
pub fn follow<T, E>(
    what: &'static str,
    files: Vec<PathBuf>,
    first: T,
    read: impl Fn() -> Result<T, E> + Clone + Send + 'static,
) -> watch::Receiver<T>
where
    T: Send + Sync + 'static,
    E: Display + Send + 'static,
{
    let (sender, receiver) = watch::channel(first);
    let mut last = stamp(&files);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = sender.closed() => return,
            }
            let now = stamp(&files);
            if now == last {
                continue;
            }
            last = now;
            let read = read.clone();
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(fresh)) => {
                    tracing::info!(what, "read again, and used from now on");
                    sender.send_replace(fresh);
                }
                Ok(Err(error)) => {
                    tracing::error!(what, %error, "changed, and cannot be used: what was read before still counts")
                }
                Err(_) => return,
            }
        }
    });
    receiver
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let look = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_counts_from_when_it_can_be_read() {
        let file = std::env::temp_dir().join(format!("aqueduct-renew-{}", std::process::id()));
        std::fs::write(&file, "1").unwrap();
        let at = file.clone();
        let read = move || {
            let text = std::fs::read_to_string(&at).map_err(|error| error.to_string())?;
            text.parse::<u32>().map_err(|error| error.to_string())
        };
        let mut followed = follow("a number", vec![file.clone()], 1, read);
        std::fs::write(&file, "no number").unwrap();
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!(*followed.borrow(), 1);
        std::fs::write(&file, "23").unwrap();
        followed.changed().await.unwrap();
        assert_eq!(*followed.borrow(), 23);
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!(*followed.borrow(), 23);
    }
}
