//! The multivariant playlist, read by m3u8-rs and judged here (LLHLS-33, -34).

use m3u8_rs::{AlternativeMediaType, MasterPlaylist, VariantStream};

use super::playlist::resolve;
use super::rule::{self, Rule};

/// A media playlist that the multivariant playlist names.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its URL.
    pub url: String,
    /// It is an audio rendition, or a variant without video.
    pub audio: bool,
    /// CODECS of the variants that use it.
    pub codecs: Vec<String>,
    /// RESOLUTION.
    pub resolution: Option<(u64, u64)>,
    /// FRAME-RATE in thousandths.
    pub millifps: Option<u64>,
    /// BANDWIDTH; `None` for a rendition of a group.
    pub bandwidth: Option<u64>,
    /// AVERAGE-BANDWIDTH.
    pub average: Option<u64>,
}

/// What the multivariant playlist says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Multivariant {
    /// Its media playlists, variants first, each URL once.
    pub entries: Vec<Entry>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
}

/// Reads a multivariant playlist and all that is wrong with it.
pub fn read(url: &str, text: &str) -> (Multivariant, Vec<(Rule, String)>) {
    let mut faults = Vec::new();
    let master = match m3u8_rs::parse_master_playlist_res(text.as_bytes()) {
        Ok(master) => master,
        Err(error) => {
            return (Multivariant::default(), vec![(rule::MULTIVARIANT, format!("m3u8-rs: {error:.80}"))]);
        }
    };
    if master.variants.is_empty() {
        faults.push((rule::MULTIVARIANT, "no variant".into()));
    }
    if let Some(line) = text.lines().find(|line| line.trim() != *line) {
        faults.push((rule::MULTIVARIANT, format!("blanks around {line:?}")));
    }
    let mut entries = Vec::new();
    for variant in master.variants.iter().filter(|variant| !variant.is_i_frame) {
        judge_variant(variant, &mut faults);
        add(&mut entries, variant_entry(url, variant));
    }
    for group in groups(&master, &mut faults) {
        group_entries(url, &master, group, &mut faults)
            .into_iter()
            .for_each(|entry| add(&mut entries, Some(entry)));
    }
    (Multivariant { entries, independent_segments: master.independent_segments }, faults)
}

fn add(entries: &mut Vec<Entry>, entry: Option<Entry>) {
    let Some(entry) = entry else { return };
    match entries.iter_mut().find(|known| known.url == entry.url) {
        Some(known) => known.codecs.extend(entry.codecs),
        None => entries.push(entry),
    }
}

fn codecs(variant: &VariantStream) -> Vec<String> {
    variant.codecs.as_deref().unwrap_or_default().split(',').map(|codec| codec.trim().to_owned()).collect()
}

fn is_audio(codec: &str) -> bool {
    let lower = codec.to_ascii_lowercase();
    ["mp4a", "opus", "ac-3", "ec-3", "flac"].iter().any(|known| lower.starts_with(known))
}

fn judge_variant(variant: &VariantStream, faults: &mut Vec<(Rule, String)>) {
    let mut lacks = |what: &str| faults.push((rule::VARIANT, format!("{} lacks {what}", variant.uri)));
    if variant.bandwidth == 0 {
        lacks("BANDWIDTH");
    }
    if variant.average_bandwidth.is_some_and(|average| average > variant.bandwidth) {
        lacks("a BANDWIDTH that is at least AVERAGE-BANDWIDTH");
    }
    let codecs = codecs(variant);
    if codecs.iter().all(String::is_empty) {
        lacks("CODECS");
    }
    if codecs.iter().any(|codec| !codec.is_empty() && !is_audio(codec)) {
        if variant.resolution.is_none() {
            lacks("RESOLUTION");
        }
        if variant.frame_rate.is_none_or(|rate| rate <= 0.0) {
            lacks("FRAME-RATE");
        }
    }
}

fn variant_entry(url: &str, variant: &VariantStream) -> Option<Entry> {
    let codecs = codecs(variant);
    Some(Entry {
        url: resolve(url, &variant.uri),
        audio: codecs.iter().all(|codec| is_audio(codec)),
        codecs,
        resolution: variant.resolution.map(|size| (size.width, size.height)),
        millifps: variant.frame_rate.map(|rate| (rate * 1_000.0) as u64),
        bandwidth: Some(variant.bandwidth),
        average: variant.average_bandwidth,
    })
}

/// Names of the audio groups that variants use; each has to exist.
fn groups<'a>(master: &'a MasterPlaylist, faults: &mut Vec<(Rule, String)>) -> Vec<&'a str> {
    let mut names: Vec<&str> =
        master.variants.iter().filter_map(|variant| variant.audio.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let known = |name: &str| {
        master
            .alternatives
            .iter()
            .any(|media| media.media_type == AlternativeMediaType::Audio && media.group_id == name)
    };
    for name in names.iter().filter(|name| !known(name)) {
        faults.push((rule::AUDIO_GROUP, format!("no EXT-X-MEDIA of group {name}")));
    }
    names.retain(|name| known(name));
    names
}

/// All renditions of an audio group: each with a name of its own, and at most one the default.
fn group_entries(
    url: &str,
    master: &MasterPlaylist,
    group: &str,
    faults: &mut Vec<(Rule, String)>,
) -> Vec<Entry> {
    let of_group = || master.alternatives.iter().filter(|media| media.group_id == group);
    let users = || master.variants.iter().filter(|variant| variant.audio.as_deref() == Some(group));
    for media in of_group() {
        if media.name.is_empty() || media.channels.is_none() || !media.autoselect {
            faults.push((rule::AUDIO_GROUP, format!("{group} lacks NAME, CHANNELS or AUTOSELECT=YES")));
        }
        if of_group().filter(|other| other.name == media.name).count() > 1 {
            faults.push((rule::AUDIO_GROUP, format!("{group} has {:?} twice", media.name)));
        }
    }
    if of_group().filter(|media| media.default).count() > 1 {
        faults.push((rule::AUDIO_GROUP, format!("{group} has more than one DEFAULT")));
    }
    let entry = |uri: &str| Entry {
        url: resolve(url, uri),
        audio: true,
        codecs: users().flat_map(codecs).filter(|codec| is_audio(codec)).collect(),
        resolution: None,
        millifps: None,
        bandwidth: None,
        average: None,
    };
    of_group().filter_map(|media| media.uri.as_deref()).map(entry).collect()
}

/// Segments of a media playlist as m3u8-rs reads them: URIs, or why it refuses.
///
/// # Errors
///
/// The parser's own words.
pub fn segments_by_m3u8_rs(text: &str) -> Result<Vec<String>, String> {
    let list = m3u8_rs::parse_media_playlist_res(text.as_bytes()).map_err(|error| format!("{error:.80}"))?;
    Ok(list.segments.into_iter().map(|segment| segment.uri).collect())
}
