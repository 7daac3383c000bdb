//! What follows from what arrives: for a store, and for a node that feeds others.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::{Object, ObjectKind, ObjectPath, Update};
use bytes::Bytes;

use super::super::window::{Edition, Item, LINGER, Listed, Word};
use super::super::wire::{Body, Head, ListHead, Media, Ranges, path_of};

/// One change, in order: what a store is told of, and a node that feeds others.
#[derive(Clone, Debug)]
pub enum Step {
    /// Everything from here on is of this epoch.
    Turn {
        /// The epoch.
        epoch: u64,
    },
    /// An object is here.
    Item {
        /// Its line.
        line: String,
        /// Its number.
        seq: u64,
        /// The object.
        item: Item,
    },
    /// There is a new word on a line's list.
    Show {
        /// The line.
        line: String,
        /// The word.
        listed: Listed,
    },
    /// No list names these any more.
    Retire {
        /// Their line.
        line: String,
        /// Their numbers, where they have one in this epoch.
        seqs: Vec<u64>,
        /// Their paths.
        paths: Vec<ObjectPath>,
        /// How long they stay fetchable.
        linger: Duration,
    },
    /// The line is not wanted any more: as if it had never been here.
    Forget {
        /// The line.
        line: String,
    },
    /// The stream has ended.
    End {
        /// How long everything stays fetchable.
        linger: Duration,
    },
}

impl Step {
    /// What a store is told.
    pub fn updates(self) -> Vec<Update> {
        match self {
            Self::Turn { .. } | Self::Forget { .. } => Vec::new(),
            Self::Item { line, item, .. } => {
                let Item { kind, content_type, file, body, .. } = item;
                let path = path_of(&line, &file);
                vec![Update::Publish(Object { path, kind, content_type, body, playlist: None })]
            }
            Self::Show { line, listed } => listed.word.update(&line).into_iter().collect(),
            Self::Retire { paths, linger, .. } => {
                paths.into_iter().map(|path| Update::Retire { path, linger }).collect()
            }
            Self::End { linger } => vec![Update::End { linger }],
        }
    }
}

impl Word {
    fn update(self, line: &str) -> Option<Update> {
        match self {
            Self::Version(edition) => {
                let Edition { file, content_type, full, delta, info, .. } = *edition;
                let kind = if info.is_some() { ObjectKind::Playlist } else { ObjectKind::Multivariant };
                let playlist = info.map(|mut info| {
                    info.delta = delta;
                    info
                });
                let path = path_of(line, &file);
                Some(Update::Publish(Object { path, kind, content_type, body: full, playlist }))
            }
            Self::Asleep { file, demand, hold } => {
                Some(Update::Sleep { path: path_of(line, &file), demand, hold })
            }
            Self::Closed { .. } => None,
        }
    }
}

pub(super) fn item(head: &Head, media: &Media, body: Bytes) -> Item {
    let (body, parts): (_, Arc<[u64]>) = match &media.body {
        Body::Bytes(_) => (vec![body], Arc::default()),
        Body::Of(parts) => (Vec::new(), parts.as_slice().into()),
    };
    Item {
        kind: media.kind,
        content_type: head.content_type,
        file: head.file.as_str().into(),
        body,
        parts,
        created: head.created,
        history: head.history,
        retired: false,
    }
}

pub(super) fn edition(head: &Head, list: ListHead, body: &Bytes) -> Edition {
    let len = list.len as usize;
    Edition {
        file: head.file.as_str().into(),
        content_type: head.content_type,
        full: vec![body.slice(..len)],
        delta: list.delta.map(|_| body.slice(len..)),
        info: Some(list.info),
        live: list.live,
        linger: list.linger,
        created: head.created,
    }
}

pub(super) fn index(head: &Head, body: Bytes) -> Edition {
    Edition {
        file: head.file.as_str().into(),
        content_type: head.content_type,
        full: vec![body],
        delta: None,
        info: None,
        live: Ranges::default(),
        linger: LINGER,
        created: head.created,
    }
}
