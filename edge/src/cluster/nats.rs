//! The directory in a key-value bucket of NATS JetStream, as old as 2.9: the bucket's stream is made by hand, and entries
//! end by its age.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, Store, UpdateErrorKind, Watch};
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use async_nats::{Client, ConnectOptions, Event};
use futures_util::Stream as _;
use tokio::sync::{mpsc, watch};

use super::config::Nats;
use super::member::{Answer, What};
use super::record::NodeName;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(1);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// All entries together, in bytes; a bound for the server, far beyond what nodes write.
const BUCKET_BYTES: i64 = 256 * 1_024 * 1_024;

/// What is heard of the directory.
pub(crate) enum Link {
    /// It is there, and its entries last so long.
    Up(Box<Store>, Duration),
    /// It holds this.
    Entry(String, Vec<u8>, u64),
    /// It holds this no more.
    Gone(String),
    /// It is away.
    Down(String),
}

/// Why the directory is away.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cluster.credentials {}: {error}", file.display())]
    Credentials { file: std::path::PathBuf, error: std::io::Error },
    #[error("no connection: {0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error(
        "cluster.bucket {bucket:?} cannot be opened: {reason}; JetStream must be on, and the user allowed to use it"
    )]
    Bucket { bucket: String, reason: String },
    #[error("cluster.bucket {0:?} is another program's: its entries never end; name another bucket")]
    Ageless(String),
    #[error("the connection was lost")]
    Disconnected,
    #[error("the watch ended: {0}")]
    Watch(String),
}

/// Keeps a connection for as long as somebody listens, and tells what comes of it.
pub(crate) async fn link(plan: Nats, node: NodeName, lease: Duration, told: mpsc::Sender<Link>) {
    loop {
        let Err(lost) = session(&plan, &node, lease, &told).await;
        if told.send(Link::Down(lost.to_string())).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn session(
    plan: &Nats,
    node: &NodeName,
    lease: Duration,
    told: &mpsc::Sender<Link>,
) -> Result<Infallible, Lost> {
    let (lost, mut losses) = watch::channel(false);
    let client = connect(plan, node, lost).await?;
    let (store, age) = open(plan, client, lease).await?;
    let failed = |error: kv::WatchError| Lost::Watch(error.to_string());
    let mut entries = store.watch_with_history(">").await.map_err(failed)?;
    // A listener that is gone ends this at the next word to it.
    let say = |link| async { told.send(link).await.map_err(|_| Lost::Disconnected) };
    say(Link::Up(Box::new(store), age)).await?;
    loop {
        let entry = tokio::select! {
            entry = next(&mut entries) => entry,
            _ = losses.changed() => return Err(Lost::Disconnected),
        };
        let entry = entry.ok_or_else(|| Lost::Watch("closed".into()))?;
        let entry = entry.map_err(|error| Lost::Watch(error.to_string()))?;
        say(match entry.operation {
            Operation::Put => Link::Entry(entry.key, entry.value.to_vec(), entry.revision),
            Operation::Delete | Operation::Purge => Link::Gone(entry.key),
        })
        .await?;
    }
}

async fn connect(plan: &Nats, node: &NodeName, lost: watch::Sender<bool>) -> Result<Client, Lost> {
    let mut options = ConnectOptions::new()
        .name(format!("aqueduct {node}"))
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .ping_interval(Duration::from_secs(2))
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                let _ = lost.send(true);
            }
            std::future::ready(())
        });
    if let Some(file) = &plan.credentials {
        let unread = |error| Lost::Credentials { file: file.clone(), error };
        options = options.credentials_file(file).await.map_err(unread)?;
    }
    Ok(options.connect(plan.urls.clone()).await?)
}

/// The bucket, made if it is not there, and how long its entries last.
async fn open(plan: &Nats, client: Client, lease: Duration) -> Result<(Store, Duration), Lost> {
    let context = ContextBuilder::new().timeout(REQUEST).build(client);
    let failed = |reason: String| Lost::Bucket { bucket: plan.bucket.clone(), reason };
    let stream = context.get_or_create_stream(bucket(&plan.bucket, lease)).await;
    let stream = stream.map_err(|error| failed(error.to_string()))?;
    let age = stream.cached_info().config.max_age;
    if age.is_zero() {
        return Err(Lost::Ageless(plan.bucket.clone()));
    }
    if age != lease {
        tracing::warn!(
            bucket = plan.bucket,
            ?age,
            ?lease,
            "the bucket was made with another lease, which counts; for cluster.lease delete the bucket"
        );
    }
    let store = context.get_key_value(&plan.bucket).await.map_err(|error| failed(error.to_string()))?;
    Ok((store, age))
}

/// What a bucket's stream is like (NATS ADR-8). Making it through the library asks servers of 2.9 what they cannot answer.
fn bucket(name: &str, lease: Duration) -> StreamConfig {
    StreamConfig {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_bytes: BUCKET_BYTES,
        max_age: lease,
        duplicate_window: lease,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

async fn next(watch: &mut Watch) -> Option<Result<kv::Entry, kv::WatcherError>> {
    std::future::poll_fn(|context| Pin::new(&mut *watch).poll_next(context)).await
}

/// Does one thing, in a bounded time.
pub(crate) async fn perform(store: Store, key: String, what: What) -> Answer {
    // A creation may ask twice.
    tokio::time::timeout(2 * REQUEST, ask(&store, key, what)).await.unwrap_or(Answer::Failed)
}

async fn ask(store: &Store, key: String, what: What) -> Answer {
    match what {
        What::Create(value) => match store.create(key, value.into()).await {
            Ok(revision) => Answer::Written(revision),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Answer::Refused,
            Err(_) => Answer::Failed,
        },
        What::Update(value, revision) => match store.update(key, value.into(), revision).await {
            Ok(revision) => Answer::Written(revision),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Answer::Refused,
            Err(_) => Answer::Failed,
        },
        What::Put(value) => store.put(key, value.into()).await.map_or(Answer::Failed, Answer::Written),
        What::Look => match store.entry(key).await {
            Ok(Some(entry)) if entry.operation == Operation::Put => {
                Answer::There(Some((entry.value.to_vec(), entry.revision)))
            }
            Ok(_) => Answer::There(None),
            Err(_) => Answer::Failed,
        },
        What::Take(revision) => {
            let taken = store.delete_expect_revision(key, Some(revision)).await;
            taken.map_or(Answer::Failed, |()| Answer::Taken)
        }
        What::Drop => store.delete(key).await.map_or(Answer::Failed, |()| Answer::Taken),
    }
}
