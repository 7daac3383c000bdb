//! Reads playlists as far as a low-latency player does.

use crate::error::Error;

/// The media playlists of a stream, as paths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renditions {
    /// Of the first variant.
    pub video: String,
    /// Of the first audio rendition.
    pub audio: Option<String>,
}

/// What a media playlist lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Media {
    /// Complete segments, oldest first, as paths.
    pub segments: Vec<String>,
    /// Parts, oldest first.
    pub parts: Vec<Listed>,
    /// The path of the part to come.
    pub hint: Option<String>,
    /// Number and part that the next blocking reload asks for.
    pub next: (u64, u64),
    /// The init segment's path.
    pub map: Option<String>,
}

/// A listed part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its segment's number, and its own within it.
    pub at: (u64, u64),
    /// Its path.
    pub path: String,
}

/// Reads a multivariant playlist found at `path`.
pub fn renditions(path: &str, text: &str) -> Result<Renditions, Error> {
    let mut lines = text.lines();
    let audio = text
        .lines()
        .filter(|line| line.starts_with("#EXT-X-MEDIA:") && line.contains("TYPE=AUDIO"))
        .find_map(|line| attribute(line, "URI"))
        .map(|uri| join(path, uri));
    let video = lines.find(|line| line.starts_with("#EXT-X-STREAM-INF:")).and_then(|_| lines.next());
    let video = video.ok_or(Error::Unreadable { what: path.into(), why: "it names no variant" })?;
    Ok(Renditions { video: join(path, video), audio })
}

/// A variant with pictures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Pixels down and across, in this order, so that variants can be sorted.
    pub size: (u32, u32),
    /// Its media playlist.
    pub path: String,
}

/// The variants with pictures of a multivariant playlist found at `path`, from large to small.
pub fn variants(path: &str, text: &str) -> Vec<Variant> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let size = line.split_once("RESOLUTION=").and_then(|(_, rest)| rest.split(',').next());
        let size = size.and_then(|size| {
            let (across, down) = size.split_once('x')?;
            Some((down.parse().ok()?, across.parse().ok()?))
        });
        if let (Some(size), Some(uri)) = (size, lines.clone().next()) {
            found.push(Variant { size, path: join(path, uri) });
        }
    }
    found.sort_by_key(|variant| std::cmp::Reverse(variant.size));
    found
}

/// Reads a media playlist found at `path`.
pub fn media(path: &str, text: &str) -> Result<Media, Error> {
    let unreadable = |why| Error::Unreadable { what: path.into(), why };
    let mut media = Media::default();
    let mut sequence = None;
    let (mut msn, mut part) = (0_u64, 0_u64);
    for line in text.lines() {
        if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            sequence = first.trim().parse::<u64>().ok();
            msn = sequence.unwrap_or(0);
        } else if line.starts_with("#EXT-X-PART:") {
            let uri = attribute(line, "URI").ok_or(unreadable("a part has no URI"))?;
            media.parts.push(Listed { at: (msn, part), path: join(path, uri) });
            part += 1;
        } else if line.starts_with("#EXT-X-PRELOAD-HINT:") {
            media.hint = attribute(line, "URI").map(|uri| join(path, uri));
        } else if line.starts_with("#EXT-X-MAP:") {
            media.map = attribute(line, "URI").map(|uri| join(path, uri));
        } else if !line.starts_with('#') && !line.is_empty() {
            media.segments.push(join(path, line));
            (msn, part) = (msn + 1, 0);
        }
    }
    sequence.ok_or(unreadable("it has no EXT-X-MEDIA-SEQUENCE"))?;
    media.next = (msn, part);
    Ok(media)
}

/// A quoted attribute's value.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// A URI reference as seen from the playlist at `base`.
fn join(base: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let folder =
        base.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
    format!("{folder}/{uri}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multivariant_names_its_renditions() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",URI=\"e1/a0/media.m3u8\"\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=1\ne1/v0/media.m3u8\n";
        let renditions = renditions("/live/show/index.m3u8", text).unwrap();
        assert_eq!(renditions.video, "/live/show/e1/v0/media.m3u8");
        assert_eq!(renditions.audio.as_deref(), Some("/live/show/e1/a0/media.m3u8"));
    }

    #[test]
    fn variants_with_pictures_are_found_from_large_to_small() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360,FRAME-RATE=30\ne/v1/media.m3u8\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=2,RESOLUTION=1280x720\ne/v0/media.m3u8\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=3,CODECS=\"mp4a.40.2\"\ne/a0/media.m3u8\n";
        let expected = [("v0", (720, 1_280)), ("v1", (360, 640))]
            .map(|(name, size)| Variant { size, path: format!("/live/show/e/{name}/media.m3u8") });
        assert_eq!(variants("/live/show/index.m3u8", text), expected);
    }

    #[test]
    fn the_next_reload_follows_the_last_part() {
        let head = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:1.0,\ns7.m4s\n\
                    #EXT-X-PART:DURATION=0.2,URI=\"p40.m4s\",INDEPENDENT=YES\n";
        let open = media("/l/s/v0/m.m3u8?_HLS_msn=8", head).unwrap();
        assert_eq!((open.next, open.segments.len()), ((8, 1), 1));
        assert_eq!(open.parts[0], Listed { at: (8, 0), path: "/l/s/v0/p40.m4s".into() });
        let closed = format!("{head}#EXTINF:0.2,\ns8.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p41.m4s\"\n");
        let closed = media("/l/s/v0/m.m3u8", &closed).unwrap();
        assert_eq!((closed.next, closed.hint.as_deref()), ((9, 0), Some("/l/s/v0/p41.m4s")));
        assert!(media("/x", "#EXTM3U\n").is_err());
    }
}
