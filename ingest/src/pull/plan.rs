//! The checked form of a pull: one source, and what opening it may lead to.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_common::{Secret, StreamName};

use super::config::{PickConfig, PullConfig, PullConfigError};

/// Schemes of URLs that may be pulled, and the protocols of libavformat that opening one of them leads to.
pub const SCHEMES: [(&str, &str); 10] = [
    ("srt", "srt"),
    ("udp", "udp"),
    ("rtp", "rtp,udp"),
    ("rist", "rist"),
    ("tcp", "tcp"),
    ("tls", "tls,tcp"),
    ("http", "http,tcp,crypto"),
    ("https", "https,tls,tcp,crypto"),
    ("rtmp", "rtmp,tcp"),
    ("rtmps", "rtmps,tls,tcp"),
];
/// Options that say what a source may lead to, which is not for a single pull to say.
const RESERVED: [&str; 5] =
    ["protocol_whitelist", "protocol_blacklist", "format_whitelist", "codec_whitelist", "allowed_extensions"];
/// Shortest and longest passphrase of SRT (AUTH-32).
const PASSPHRASE: std::ops::RangeInclusive<usize> = 10..=79;
const STALL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
const LATENCY_MAX: Duration = Duration::from_secs(30);
const FPS: std::ops::RangeInclusive<u32> = 1..=60;
const SIDE: std::ops::RangeInclusive<u32> = 64..=4_096;

/// A checked [`PullConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullPlan {
    /// The stream that it feeds.
    pub stream: StreamName,
    /// What logs and the API call it.
    pub name: String,
    /// The source.
    pub origin: Origin,
    /// Which video stream.
    pub video: Pick,
    /// Which audio stream.
    pub audio: Pick,
    /// Where it has no sound, silence.
    pub silence: bool,
    /// It is tried again when it was lost.
    pub reconnect: bool,
    /// It is lost when nothing comes for so long.
    pub stall: Duration,
}

/// Where a pull's media comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A URL.
    Url {
        /// It.
        url: Secret,
        /// Protocols that opening it may lead to, with commas between them.
        protocols: String,
        /// Options of libavformat and its protocols.
        options: Vec<(String, Secret)>,
        /// It comes in bursts, and is given out at its own pace.
        paced: bool,
        /// It waits for somebody to send.
        listens: bool,
    },
    /// Files, one after another, over and over.
    Files(Vec<PathBuf>),
    /// A still image.
    Still {
        /// The file.
        file: PathBuf,
        /// Pixels across and down.
        size: (u32, u32),
        /// Frames a second.
        fps: u32,
    },
}

/// Which stream of a kind is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first one.
    First,
    /// None.
    None,
    /// The one with this number, from 0.
    Number(u8),
    /// The first one in this language.
    Language(String),
}

impl Origin {
    /// It as people may see it: without whatever could be secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Url { url, .. } => shown(url.expose()),
            Self::Files(files) => {
                let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                names.join(", ")
            }
            Self::Still { file, .. } => file.display().to_string(),
        }
    }

    /// It waits for somebody to send, for however long that takes.
    pub const fn listens(&self) -> bool {
        matches!(self, Self::Url { listens: true, .. })
    }
}

/// Scheme, host and port of a URL.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".into() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
}

impl PullPlan {
    /// Checks a pull against the schemes that are allowed.
    ///
    /// # Errors
    /// What is wrong with it, by its key.
    pub fn check(config: &PullConfig, schemes: &[String]) -> Result<Self, PullConfigError> {
        let stream: StreamName =
            config.stream.parse().map_err(|_| PullConfigError::Stream(config.stream.clone()))?;
        let name = config.name.clone().unwrap_or_else(|| stream.name().to_owned());
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(PullConfigError::Name(name));
        }
        if !STALL.contains(&config.stall) {
            return Err(PullConfigError::Span { key: "stall", least: *STALL.start(), most: *STALL.end() });
        }
        let (video, audio) = (pick(config.video.as_ref()), pick(config.audio.as_ref()));
        if video == Pick::None && audio == Pick::None {
            return Err(PullConfigError::Nothing);
        }
        let origin = origin(config, schemes)?;
        let PullConfig { silence, reconnect, stall, .. } = *config;
        Ok(Self { stream, name, origin, video, audio, silence, reconnect, stall })
    }
}

fn pick(config: Option<&PickConfig>) -> Pick {
    match config {
        None => Pick::First,
        Some(PickConfig::Number(number)) => Pick::Number(*number),
        Some(PickConfig::Word(word)) if word == "none" => Pick::None,
        Some(PickConfig::Word(word)) => Pick::Language(word.clone()),
    }
}

fn origin(config: &PullConfig, schemes: &[String]) -> Result<Origin, PullConfigError> {
    match (&config.url, config.files.as_slice(), &config.still) {
        (Some(url), [], None) => of_url(config, url, schemes),
        (None, [_, ..], None) => not_srt(config).map(|()| Origin::Files(config.files.clone())),
        (None, [], Some(file)) => {
            not_srt(config)?;
            if !FPS.contains(&config.fps) {
                return Err(PullConfigError::Fps);
            }
            let size = parse_size(&config.size).ok_or_else(|| PullConfigError::Size(config.size.clone()))?;
            Ok(Origin::Still { file: file.clone(), size, fps: config.fps })
        }
        _ => Err(PullConfigError::Origin),
    }
}

fn of_url(config: &PullConfig, url: &Secret, schemes: &[String]) -> Result<Origin, PullConfigError> {
    let text = url.expose();
    let (scheme, rest) = text.split_once("://").ok_or(PullConfigError::Url)?;
    if rest.is_empty() || text.chars().any(char::is_control) {
        return Err(PullConfigError::Url);
    }
    let scheme = scheme.to_ascii_lowercase();
    let protocols = protocols(&scheme, schemes)?;
    let mut options = Vec::new();
    if scheme == "srt" {
        options.extend(srt_options(config)?);
    } else {
        not_srt(config)?;
    }
    if matches!(&*scheme, "udp" | "rtp") {
        // What a burst brings must wait for the reader, and losing some of it must not end the source.
        options.push(("buffer_size".to_owned(), Secret::new("4194304".to_owned())));
        options.push(("overrun_nonfatal".to_owned(), Secret::new("1".to_owned())));
    }
    for (key, value) in &config.options {
        if RESERVED.contains(&key.as_str()) || key.contains('\0') || value.expose().contains('\0') {
            return Err(PullConfigError::Option(key.clone()));
        }
        options.push((key.clone(), value.clone()));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let says = |pair: &str| query.split('&').any(|given| given == pair);
    let option =
        |key: &str, value: &str| config.options.get(key).is_some_and(|given| given.expose() == value);
    let listens = matches!(&*scheme, "udp" | "rtp" | "rist")
        || says("mode=listener")
        || option("mode", "listener")
        || says("listen=1")
        || says("listen")
        || option("listen", "1");
    let paced = matches!(&*scheme, "http" | "https") && path.ends_with(".m3u8");
    Ok(Origin::Url { url: url.clone(), protocols, options, paced, listens })
}

/// What opening a URL of this scheme may lead to, among those that are allowed: HTTP redirects to HTTPS and back.
fn protocols(scheme: &str, allowed: &[String]) -> Result<String, PullConfigError> {
    let is_allowed = |scheme: &str| allowed.iter().any(|one| one.eq_ignore_ascii_case(scheme));
    let of = |scheme: &str| SCHEMES.iter().find(|(one, _)| *one == scheme).map(|(_, protocols)| *protocols);
    let Some(own) = of(scheme).filter(|_| is_allowed(scheme)) else {
        let hint = match scheme {
            "rtsp" | "rtsps" => "; write RTSP sources under [[ingest.rtsp]]",
            "file" => "; write paths under `files`",
            _ => "",
        };
        return Err(PullConfigError::Scheme { scheme: scheme.to_owned(), allowed: allowed.join(", "), hint });
    };
    let other = match scheme {
        "http" => "https",
        "https" => "http",
        _ => "",
    };
    let other = of(other).filter(|_| is_allowed(other));
    Ok(other.map_or_else(|| own.to_owned(), |other| format!("{own},{other}")))
}

fn srt_options(config: &PullConfig) -> Result<Vec<(String, Secret)>, PullConfigError> {
    let mut options = Vec::new();
    if let Some(passphrase) = &config.passphrase {
        if !PASSPHRASE.contains(&passphrase.expose().len()) {
            return Err(PullConfigError::Passphrase);
        }
        options.push(("passphrase".to_owned(), passphrase.clone()));
    }
    if let Some(latency) = config.latency {
        if latency > LATENCY_MAX {
            return Err(PullConfigError::Span { key: "latency", least: Duration::ZERO, most: LATENCY_MAX });
        }
        options.push(("latency".to_owned(), Secret::new(latency.as_micros().to_string())));
    }
    if let Some(id) = &config.streamid {
        options.push(("streamid".to_owned(), id.clone()));
    }
    Ok(options)
}

const fn not_srt(config: &PullConfig) -> Result<(), PullConfigError> {
    match (&config.passphrase, &config.latency, &config.streamid) {
        (None, None, None) => Ok(()),
        (Some(_), ..) => Err(PullConfigError::NotSrt("passphrase")),
        (_, Some(_), _) => Err(PullConfigError::NotSrt("latency")),
        _ => Err(PullConfigError::NotSrt("streamid")),
    }
}

fn parse_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| SIDE.contains(side) && side % 2 == 0);
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<String> {
        SCHEMES.iter().map(|(scheme, _)| (*scheme).to_owned()).collect()
    }

    fn read(text: &str) -> Result<PullPlan, String> {
        let config: PullConfig = toml_edit::de::from_str(&format!("stream = 'live/cam'\n{text}"))
            .map_err(|error| error.to_string())?;
        PullPlan::check(&config, &all()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_alone_is_enough_and_shows_no_secret() {
        let plan = read("url = 'srt://user:words@h:9000/x?passphrase=hidden-words&mode=caller'").unwrap();
        assert_eq!((plan.stream.as_str(), &*plan.name), ("live/cam", "cam"));
        assert_eq!(plan.origin.shown(), "srt://h:9000");
        assert!(!plan.origin.listens() && plan.reconnect && plan.stall == Duration::from_secs(5));
        let printed = format!("{plan:?}");
        assert!(!printed.contains("words"), "{printed}");
    }

    #[test]
    fn options_of_srt_are_options_of_libavformat() {
        let text = "url = 'srt://0.0.0.0:9000?mode=listener'\npassphrase = 'hidden-words'\nlatency = '200ms'\n\
                    streamid = 'a'\noptions = { pbkeylen = '32' }\nname = 'a-1'";
        let Origin::Url { options, listens, protocols, .. } = read(text).unwrap().origin else { panic!() };
        let named: Vec<_> =
            options.iter().map(|(key, value)| (key.as_str(), value.expose().as_str())).collect();
        let expected =
            [("passphrase", "hidden-words"), ("latency", "200000"), ("streamid", "a"), ("pbkeylen", "32")];
        assert_eq!(named, expected);
        assert_eq!((listens, &*protocols), (true, "srt"));
    }

    #[test]
    fn a_scheme_leads_to_its_own_protocols_alone() {
        let url = |url: &str, schemes: &[&str]| {
            let config: PullConfig =
                toml_edit::de::from_str(&format!("stream = 'live/cam'\nurl = '{url}'")).unwrap();
            let schemes: Vec<_> = schemes.iter().map(|scheme| (*scheme).to_owned()).collect();
            PullPlan::check(&config, &schemes).map(|plan| match plan.origin {
                Origin::Url { protocols, paced, .. } => (protocols, paced),
                _ => panic!(),
            })
        };
        assert_eq!(url("http://h/a.m3u8?x=1", &["http"]), Ok(("http,tcp,crypto".into(), true)));
        let both = "https,tls,tcp,crypto,http,tcp,crypto";
        assert_eq!(url("https://h/a.ts", &["http", "https"]), Ok((both.into(), false)));
        for (given, schemes, part) in [
            ("udp://239.0.0.1:1234", &["srt"][..], "ingest.pull_schemes has srt"),
            ("file:///etc/passwd", &["srt", "file"], "write paths under `files`"),
            ("rtsp://h/a", &["srt"], "[[ingest.rtsp]]"),
            ("concat:a|b", &["srt"], "this is no URL"),
        ] {
            let error = url(given, schemes).unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn errors_name_the_key() {
        for (text, part) in [
            ("", "url: set one of"),
            ("url = 'udp://h:1'\nfiles = ['a']", "url: set one of"),
            ("url = 'x'", "url: this is no URL"),
            ("url = 'udp://h:1'\nname = 'a b'", "name: "),
            ("url = 'udp://h:1'\npassphrase = '0123456789'", "passphrase: only srt"),
            ("url = 'srt://h:1'\npassphrase = 'short'", "passphrase: SRT takes"),
            ("url = 'srt://h:1'\nlatency = '1m'", "latency: must be"),
            ("url = 'udp://h:1'\nstall = '0s'", "stall: must be"),
            ("url = 'udp://h:1'\nvideo = 'none'\naudio = 'none'", "video: "),
            ("url = 'udp://h:1'\noptions = { protocol_whitelist = 'file' }", "options.protocol_whitelist: "),
            ("still = 'a.png'\nsize = '1281x720'", "size: "),
            ("still = 'a.png'\nfps = 0", "fps: "),
            ("stil = 'a.png'", "stil"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let config = PullConfig { stream: "x".into(), ..toml_edit::de::from_str("stream = 'x'").unwrap() };
        assert!(matches!(PullPlan::check(&config, &all()), Err(PullConfigError::Stream(_))));
    }

    #[test]
    fn streams_are_picked_by_number_and_by_word() {
        let plan = read("files = ['a.mp4', 'b.mp4']\nvideo = 1\naudio = 'deu'\nsilence = true").unwrap();
        assert_eq!((plan.video, plan.audio), (Pick::Number(1), Pick::Language("deu".into())));
        assert_eq!(plan.origin, Origin::Files(vec!["a.mp4".into(), "b.mp4".into()]));
        let plan = read("still = 'a.png'\nsize = '640x360'\naudio = 'none'").unwrap();
        assert_eq!(plan.origin, Origin::Still { file: "a.png".into(), size: (640, 360), fps: 25 });
    }
}
