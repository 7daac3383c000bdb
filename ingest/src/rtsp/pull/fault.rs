//! Why a source does not play, in words for whoever runs it.

use std::io::ErrorKind;

use super::super::assembly::NothingUsable;
use super::super::wire::WireError;

/// Why a pull failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::rtsp) enum Fault {
    /// No connection came about.
    Unreachable(ErrorKind),
    /// Its name cannot be resolved.
    NoSuchHost,
    /// The TLS handshake failed.
    Tls,
    /// It answered with a status that is no success.
    Status(u16),
    /// Its answer cannot be understood.
    Nonsense,
    /// Its answer is longer than any camera's, or no RTSP.
    Wire(WireError),
    /// No track of it can be taken.
    Nothing(NothingUsable),
    /// It does not answer.
    NoAnswer,
    /// It plays, and sends nothing.
    NoMedia,
    /// Media stopped coming.
    Stalled,
    /// Media comes, and no picture can be begun with and no sound played.
    NoFrames,
    /// It closed the connection.
    Closed,
    /// Another publisher has the stream.
    Busy,
    /// The stream has a list of sources, and this one is not on it.
    Unlisted,
    /// Something failed here: a defect.
    Broken,
}

impl Fault {
    /// The metric label.
    pub(in crate::rtsp) const fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::NoSuchHost => "pull_unreachable",
            Self::Tls => "pull_tls",
            Self::Status(401 | 403) => "pull_credentials",
            Self::Status(404) => "pull_not_found",
            Self::Status(_) => "pull_status",
            Self::Nonsense | Self::Wire(_) => "pull_malformed",
            Self::Nothing(_) => "pull_codecs",
            Self::NoAnswer => "pull_no_answer",
            Self::NoMedia | Self::NoFrames => "pull_no_media",
            Self::Stalled => "pull_stalled",
            Self::Closed => "pull_closed",
            Self::Busy => "pull_busy",
            Self::Unlisted => "pull_unlisted",
            Self::Broken => "pull_broken",
        }
    }

    /// Trying again soon does not mend it, and may do harm.
    pub(in crate::rtsp) const fn is_hopeless(&self) -> bool {
        matches!(
            self,
            Self::Status(401 | 403 | 404)
                | Self::Nothing(_)
                | Self::Wire(_)
                | Self::NoSuchHost
                | Self::Unlisted
                | Self::Broken
        )
    }

    /// What is wrong, and what to do. `host` is where the source is.
    pub(in crate::rtsp) fn text(&self, host: &str) -> String {
        match self {
            Self::Unreachable(ErrorKind::ConnectionRefused) => {
                format!("{host} refuses connections: is the camera on, and is this its RTSP port?")
            }
            Self::Unreachable(_) => {
                format!("{host} cannot be reached: check the address, the cable and the firewall.")
            }
            Self::NoSuchHost => format!("The name {host} is not known: check the URL."),
            Self::Tls => {
                format!("{host} does not speak TLS, or its certificate is not valid: use rtsp:// or mend it.")
            }
            Self::Status(401 | 403) => format!(
                "{host} refuses the user name or the password: correct them. It is asked again every 30 s only, so \
                 that the account is not locked."
            ),
            Self::Status(404) => {
                format!("{host} has no stream at this path: check the URL in the camera's manual.")
            }
            Self::Status(461) => {
                format!("{host} refuses the transport: set transport to \"udp\", or to \"tcp\".")
            }
            Self::Status(453 | 503) => {
                format!("{host} has as many viewers as it takes: close others, or pull its second stream.")
            }
            Self::Status(status) => format!("{host} answers with status {status}."),
            Self::Nonsense => format!("{host} answers what cannot be understood: is this an RTSP server?"),
            Self::Wire(error) => format!("{host} is cut off: what it sends is no use, {error}."),
            Self::Nothing(what) => {
                format!(
                    "{host}: {what}: set the camera to H.264 or H.265 and AAC or Opus. MJPEG, G.711 and G.726 need \
                     transcode.mode = \"auto\"."
                )
            }
            Self::NoAnswer => format!("{host} accepts the connection and does not answer."),
            Self::NoMedia => {
                format!("{host} plays, but no media comes: set transport to \"tcp\", or open UDP.")
            }
            Self::Stalled => format!("Media of {host} stopped coming."),
            Self::NoFrames => format!("{host} sends media that cannot be decoded: no keyframe came in 15 s."),
            Self::Closed => format!("{host} closed the connection."),
            Self::Busy => {
                "Another publisher has this stream: it is pulled again once that one has left.".to_owned()
            }
            Self::Unlisted => {
                "The stream's section lists its sources without this one: add \"rtsp:\" and its name, or \"rtsp\" where it has \
                 none."
                    .to_owned()
            }
            Self::Broken => format!("Pulling {host} failed for a reason in this program: see the log."),
        }
    }
}
