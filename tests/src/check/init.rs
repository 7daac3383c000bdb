//! Init segments: boxes, fields and codec strings (CMAF-1..7).

use super::rule::{self, Rule};
use crate::bmff::{self, Box4, be16, be32};

/// What an init segment says about its track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Init {
    /// The track is video.
    pub video: bool,
    /// Ticks per second.
    pub timescale: u32,
    /// Four-character code of the sample entry.
    pub entry: [u8; 4],
    /// RFC 6381 string made from the codec record.
    pub codec: String,
    /// Width and height of the sample entry; zero for audio.
    pub size: (u16, u16),
    /// The size that it is shown at: stretched to square pixels where it says how its own are shaped (`pasp`).
    pub shown: (u64, u64),
    /// Bytes of a NAL unit's length, for codecs that have NAL units.
    pub nal_length: Option<usize>,
}

/// Something wrong with bytes.
pub type MediaFault = (Rule, String);

/// Reads an init segment and all that is wrong with it.
pub fn read_init(data: &[u8]) -> (Option<Init>, Vec<MediaFault>) {
    let mut faults = Vec::new();
    let top = match bmff::boxes(data) {
        Ok(top) => top,
        Err(error) => return (None, vec![(rule::INIT_BOXES, error.to_string())]),
    };
    order(&mut faults, "init", &top, &[b"ftyp", b"moov"]);
    brands(&mut faults, bmff::find(data, &[b"ftyp"]).unwrap_or_default());
    let Some(moov) = bmff::find(data, &[b"moov"]) else { return (None, faults) };
    moov_boxes(&mut faults, moov);
    moov_fields(&mut faults, moov);
    if mp4_atom_refuses(data) {
        faults.push((rule::INIT_BOXES, "an independent parser (mp4-atom) refuses it".into()));
    }
    (track(&mut faults, moov), faults)
}

/// The kinds of `boxes` are exactly `want`.
fn order(faults: &mut Vec<MediaFault>, parent: &str, boxes: &[Box4<'_>], want: &[&[u8; 4]]) {
    if !boxes.iter().map(|one| &one.kind).eq(want.iter().copied()) {
        let found: Vec<_> = boxes.iter().map(Box4::name).collect();
        faults.push((rule::INIT_BOXES, format!("{parent} holds {}", found.join(" "))));
    }
}

fn brands(faults: &mut Vec<MediaFault>, ftyp: &[u8]) {
    let brands: Vec<&[u8]> = ftyp.chunks_exact(4).collect();
    let major = brands.first().copied().unwrap_or_default();
    let compatible = brands.get(2..).unwrap_or_default();
    let wanted: [&[u8]; 2] = [b"iso6", b"cmfc"];
    if major != b"iso6" || wanted.iter().any(|brand| !compatible.contains(brand)) {
        faults.push((rule::INIT_FIELDS, format!("ftyp is {:?}", String::from_utf8_lossy(ftyp))));
    }
}

fn moov_boxes(faults: &mut Vec<MediaFault>, moov: &[u8]) {
    let walk = |path: &[&[u8; 4]]| {
        bmff::find(moov, path).and_then(|body| bmff::boxes(body).ok()).unwrap_or_default()
    };
    order(faults, "moov", &walk(&[]), &[b"mvhd", b"trak", b"mvex"]);
    order(faults, "trak", &walk(&[b"trak"]), &[b"tkhd", b"mdia"]);
    order(faults, "mdia", &walk(&[b"trak", b"mdia"]), &[b"mdhd", b"hdlr", b"minf"]);
    let minf = walk(&[b"trak", b"mdia", b"minf"]);
    let header: &[u8; 4] =
        if minf.first().is_some_and(|one| &one.kind == b"smhd") { b"smhd" } else { b"vmhd" };
    order(faults, "minf", &minf, &[header, b"dinf", b"stbl"]);
    let stbl = walk(&[b"trak", b"mdia", b"minf", b"stbl"]);
    order(faults, "stbl", &stbl, &[b"stsd", b"stts", b"stsc", b"stsz", b"stco"]);
    for table in stbl.iter().filter(|one| matches!(&one.kind, b"stts" | b"stsc" | b"stco")) {
        if be32(table.body, 4) != Some(0) {
            faults.push((rule::INIT_BOXES, format!("{} has entries", table.name())));
        }
    }
    order(faults, "mvex", &walk(&[b"mvex"]), &[b"trex"]);
}

/// Where a field stands: headers of version 1 have times of eight bytes.
struct Field {
    path: &'static [&'static [u8; 4]],
    name: &'static str,
    at: [usize; 2],
    value: u32,
}

const FIELDS: &[Field] = &[
    Field { path: &[b"mvhd"], name: "mvhd timescale", at: [12, 20], value: 1_000 },
    Field { path: &[b"mvhd"], name: "mvhd duration", at: [16, 28], value: 0 },
    Field { path: &[b"mvhd"], name: "mvhd next_track_ID", at: [96, 108], value: 2 },
    Field { path: &[b"trak", b"tkhd"], name: "tkhd track_ID", at: [12, 20], value: 1 },
    Field { path: &[b"trak", b"tkhd"], name: "tkhd duration", at: [20, 32], value: 0 },
    Field { path: &[b"trak", b"mdia", b"mdhd"], name: "mdhd duration", at: [16, 28], value: 0 },
    Field { path: &[b"mvex", b"trex"], name: "trex track_ID", at: [4, 4], value: 1 },
    Field { path: &[b"mvex", b"trex"], name: "trex default_sample_description_index", at: [8, 8], value: 1 },
];

fn moov_fields(faults: &mut Vec<MediaFault>, moov: &[u8]) {
    for Field { path, name, at, value } in FIELDS {
        let found = bmff::find(moov, path).and_then(|body| be32(body, at[version(body)]));
        if found.is_some() && found != Some(*value) {
            faults.push((rule::INIT_FIELDS, format!("{name} is {found:?}, not {value}")));
        }
    }
    // Enabled, in movie, in preview.
    let flags =
        bmff::find(moov, &[b"trak", b"tkhd"]).and_then(|body| be32(body, 0)).map(|word| word & 0xff_ffff);
    if flags.is_some_and(|flags| flags != 7) {
        faults.push((rule::INIT_FIELDS, format!("tkhd flags are {flags:?}, not 7")));
    }
}

/// 0 or 1, as an index.
fn version(full_box: &[u8]) -> usize {
    usize::from(full_box.first() == Some(&1))
}

fn mp4_atom_refuses(data: &[u8]) -> bool {
    use mp4_atom::{Any, Decode};
    let mut rest = std::io::Cursor::new(data);
    while (rest.position() as usize) < data.len() {
        match Any::decode(&mut rest) {
            Ok(Any::Ftyp(_) | Any::Moov(_)) => {}
            _ => return true,
        }
    }
    false
}

fn track(faults: &mut Vec<MediaFault>, moov: &[u8]) -> Option<Init> {
    let mdia = bmff::find(moov, &[b"trak", b"mdia"])?;
    let mdhd = bmff::find(mdia, &[b"mdhd"])?;
    let timescale = be32(mdhd, [12, 20][version(mdhd)])?;
    let video = match bmff::find(mdia, &[b"hdlr"])?.get(8..12)? {
        b"vide" => true,
        b"soun" => false,
        _ => {
            faults.push((rule::INIT_FIELDS, "hdlr is neither vide nor soun".into()));
            return None;
        }
    };
    let stsd = bmff::find(mdia, &[b"minf", b"stbl", b"stsd"])?;
    let entries = bmff::boxes(stsd.get(8..)?).ok()?;
    let entry = entries.first().filter(|_| entries.len() == 1)?;
    let init = if video { video_entry(entry, timescale) } else { audio_entry(entry, timescale) };
    if init.is_none() {
        faults.push((rule::INIT_ENTRY, format!("{} without a valid codec record", entry.name())));
    }
    if timescale == 0 {
        faults.push((rule::INIT_FIELDS, "mdhd timescale is 0".into()));
        return None;
    }
    init
}

fn video_entry(entry: &Box4<'_>, timescale: u32) -> Option<Init> {
    let size = (be16(entry.body, 24)?, be16(entry.body, 26)?);
    let children = entry.body.get(78..)?;
    let aspect = bmff::find(children, &[b"pasp"]).and_then(|pasp| Some((be32(pasp, 0)?, be32(pasp, 4)?)));
    let (across, down) = aspect.filter(|(across, down)| *across > 0 && *down > 0).unwrap_or((1, 1));
    let (across, down) = (u64::from(across), u64::from(down));
    let shown = ((u64::from(size.0) * across + down / 2) / down, u64::from(size.1));
    let record = |kind| bmff::find(children, &[kind]);
    let (codec, nal_length) = match &entry.kind {
        b"avc1" => {
            let avcc = record(b"avcC")?;
            (
                format!("avc1.{:02x}{:02x}{:02x}", avcc.get(1)?, avcc.get(2)?, avcc.get(3)?),
                Some(nal_length(avcc, 4)?),
            )
        }
        b"hvc1" => {
            let hvcc = record(b"hvcC")?;
            (hevc_string(hvcc)?, Some(nal_length(hvcc, 21)?))
        }
        b"av01" => (av1_string(record(b"av1C")?)?, None),
        b"vp09" => {
            let vpcc = record(b"vpcC")?;
            (format!("vp09.{:02}.{:02}.{:02}", vpcc.get(4)?, vpcc.get(5)?, vpcc.get(6)? >> 4), None)
        }
        _ => return None,
    };
    Some(Init { video: true, timescale, entry: entry.kind, codec, size, shown, nal_length })
}

fn nal_length(record: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(record.get(at)? & 3) + 1)
}

/// `hvc1.1.6.L120.90` from hvcC (ISO/IEC 14496-15, annex E).
fn hevc_string(hvcc: &[u8]) -> Option<String> {
    let general = *hvcc.get(1)?;
    let space = ["", "A", "B", "C"][usize::from(general >> 6)];
    let tier = if general & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = be32(hvcc, 2)?.reverse_bits();
    let mut constraints = hvcc.get(6..12)?;
    while let [rest @ .., 0] = constraints {
        constraints = rest;
    }
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", general & 0x1f, hvcc.get(12)?);
    for byte in constraints {
        text.push_str(&format!(".{byte:X}"));
    }
    Some(text)
}

/// `av01.0.08M.08` from av1C.
fn av1_string(av1c: &[u8]) -> Option<String> {
    let (levels, depths) = (*av1c.get(1)?, *av1c.get(2)?);
    let tier = if depths & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (depths & 0x40 != 0, depths & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    Some(format!("av01.{}.{:02}{tier}.{depth:02}", levels >> 5, levels & 0x1f))
}

fn audio_entry(entry: &Box4<'_>, timescale: u32) -> Option<Init> {
    let children = entry.body.get(28..)?;
    let codec = match &entry.kind {
        b"mp4a" => format!("mp4a.40.{}", aac_object(bmff::find(children, &[b"esds"])?)?),
        b"Opus" => bmff::find(children, &[b"dOps"]).map(|_| "opus".to_owned())?,
        _ => return None,
    };
    Some(Init {
        video: false,
        timescale,
        entry: entry.kind,
        codec,
        size: (0, 0),
        shown: (0, 0),
        nal_length: None,
    })
}

/// Audio object type of the AudioSpecificConfig in an esds (ISO/IEC 14496-3, 1.6.2.1).
fn aac_object(esds: &[u8]) -> Option<u8> {
    let asc = specific_config(esds.get(4..)?)?;
    match *asc.first()? >> 3 {
        31 => Some(32 + ((be16(asc, 0)? >> 5) & 0x3f) as u8),
        object => Some(object),
    }
}

/// The DecSpecificInfo (tag 5) within ES_Descriptor and DecoderConfigDescriptor.
pub(crate) fn specific_config(mut data: &[u8]) -> Option<&[u8]> {
    loop {
        let (tag, body) = descriptor(data)?;
        data = match tag {
            3 => body.get(3..)?,
            4 if body.first()? == &0x40 => body.get(13..)?,
            5 => return Some(body),
            _ => return None,
        };
    }
}

fn descriptor(data: &[u8]) -> Option<(u8, &[u8])> {
    let (mut size, mut at) = (0, 1);
    loop {
        let byte = *data.get(at)?;
        at += 1;
        size = size << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((*data.first()?, data.get(at..at.checked_add(size)?)?));
        }
        if at > 5 {
            return None;
        }
    }
}

/// Two codec strings mean the same: CODECS is compared without case.
pub fn same_codec(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
        || (left.starts_with("av01") && right.to_ascii_lowercase().starts_with(left))
        || (left.starts_with("vp09") && right.to_ascii_lowercase().starts_with(left))
}
