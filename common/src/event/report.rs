//! What viewers' players say of themselves, as it came.

use serde::{Deserialize, Serialize};

use crate::name::StreamName;
use crate::time::WallTime;

/// How a report came (QOE-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// The value of the query's `CMCD`, still escaped.
    Query,
    /// The values of the four CMCD headers, with commas between them.
    Headers,
    /// A body with a CMCD list in each line (CMCD version 2, events).
    Lines,
    /// A body of our own page: JSON (QOE-12).
    Beacon,
}

/// One report. Its text is a stranger's: nothing of it has been looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The stream that it was sent for.
    pub stream: StreamName,
    /// When it came.
    pub at: WallTime,
    /// Who sent it, where the text does not say: a keyed hash of address and user agent.
    pub viewer: u64,
    /// How it came.
    pub carrier: Carrier,
    /// Its text, of at most [`Report::MOST`] bytes.
    pub text: Box<str>,
}

impl Report {
    /// Bytes of the longest report that is taken (QOE-12).
    pub const MOST: usize = 16 * 1_024;
}
