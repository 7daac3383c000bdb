//! What has to be done to a picture before it is encoded, in libavfilter's language: pure.
//!
//! One conversion and a cascade: the largest rung is scaled from the source, each smaller one from the one above it
//! (AVP-20). Out comes 8-bit 4:2:0, BT.709, limited range, square pixels (AVP-21, AVP-24); a source of another shape
//! than the ladder's is fitted into the canvas with bars (AVP-23, TL-27).

use std::fmt::Write as _;

use aqueduct_common::Track;
use aqueduct_common::codec::{Colour, Hdr};

use crate::sys::{Scan, Shape};

/// Bicubic for brightness, as ffmpeg scales by itself; bilinear for colours, which nobody tells apart at a quarter of the
/// pixels and which saves a quarter of the scaler's work.
const SCALER: &str = "bicublin";
/// SDR's white on HDR's scale, in cd/m² (ITU-R BT.2408).
const WHITE: u32 = 203;
/// The peak that PQ is reckoned with where nothing is said of it, and HLG always, in cd/m² (AVP-25).
const PEAK: u32 = 1_000;

/// Interlaced pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fields {
    /// Nothing to do.
    Progressive,
    /// One picture for each frame: the count of frames stays (aligned mode).
    PerFrame,
    /// One picture for each field: 50i becomes 50p (regular mode).
    PerField,
}

/// Where pictures are, and are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In memory.
    Memory,
    /// On NVIDIA's device; `stay` keeps them there for the encoders.
    Cuda {
        /// Encoders read them from there.
        stay: bool,
    },
    /// On a VAAPI device.
    Vaapi {
        /// Encoders read them from there.
        stay: bool,
    },
    /// On a device whose scaler is not used.
    Elsewhere,
}

/// What is known of a source's pictures beside themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// Its colours: they fill what pictures leave unsaid.
    colour: Option<Colour>,
    /// The brightest that PQ shows, in cd/m².
    peak: Option<u32>,
}

impl Told {
    /// What a track says.
    pub(super) fn of(track: &Track) -> Self {
        let picture = track.codec.picture();
        let (colour, hdr) = picture.map_or((None, Hdr::default()), |picture| (picture.colour, picture.hdr));
        Self { colour, peak: peak(&hdr) }
    }

    /// A picture's shape with what it leaves unsaid.
    pub(super) fn complete(&self, mut shape: Shape) -> Shape {
        let Some(told) = self.colour else { return shape };
        let (primaries, transfer, matrix) = &mut shape.colour;
        for (own, told) in [(primaries, told.primaries), (transfer, told.transfer), (matrix, told.matrix)] {
            if *own == UNSPECIFIED {
                *own = told.into();
            }
        }
        shape
    }
}

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u32 = 2;

/// The brightest pixel, in cd/m²: no brighter than the content says, nor than the display that it was made on shows. What
/// cannot be meant counts as unsaid; below SDR's white nothing is mapped.
fn peak(hdr: &Hdr) -> Option<u32> {
    let content = hdr.light.map(|light| u32::from(light.max_content));
    let display = hdr.mastering.map(|display| display.max_luminance / 10_000);
    let sane = |peak: &u32| (1..=10_000).contains(peak);
    content.into_iter().chain(display).filter(sane).min().map(|peak| peak.max(WHITE))
}

/// What the filters of this machine can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Means {
    /// zscale and tonemap are there.
    pub(super) tone_map: bool,
    /// bwdif is there.
    pub(super) deinterlace: bool,
}

/// A graph to build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Recipe {
    /// In libavfilter's language, from `[in]` to `[out0]`, `[out1]`, ….
    pub(super) spec: String,
    /// A picture comes out only when the next one is in.
    pub(super) delayed: bool,
    /// What could not be done, in words for the operator.
    pub(super) lacks: Option<&'static str>,
}

/// The graph that makes pictures of these sizes, given from large to small.
pub(super) fn recipe(
    shape: &Shape,
    told: Told,
    fields: Fields,
    place: Place,
    sizes: &[(u32, u32)],
    means: Means,
) -> Recipe {
    let needs = Needs::of(shape, told);
    let interlaced = fields != Fields::Progressive && shape.scan != Some(Scan::Progressive);
    let plain = needs == Needs::default() && !interlaced && fits_all(shape, sizes);
    if plain && let Some(spec) = on_device(place, sizes) {
        return Recipe { spec, delayed: false, lacks: None };
    }
    let mut spec = String::from("[in]");
    if place != Place::Memory {
        let format = if shape.depth > 8 { "p010le" } else { "nv12" };
        let _ = write!(spec, "hwdownload,format={format},");
    }
    let mut lacks = None;
    if interlaced && means.deinterlace {
        join(&mut spec, shape.scan, fields);
    } else if interlaced {
        lacks = Some("the picture is interlaced, and libavfilter was built without bwdif: it is left so");
    }
    if needs.tone_map.is_some() && !means.tone_map {
        lacks =
            Some("the picture is HDR, and libavfilter was built without zscale or tonemap: colours are off");
    }
    cascade(&mut spec, shape, needs, sizes, means.tone_map);
    Recipe { spec, delayed: interlaced && means.deinterlace, lacks }
}

/// Joins fields. Where it was seen how pictures were taken, what they say of themselves is overruled.
fn join(spec: &mut String, scan: Option<Scan>, fields: Fields) {
    match scan {
        Some(Scan::UpperFirst) => spec.push_str("setfield=mode=tff,"),
        Some(Scan::LowerFirst) => spec.push_str("setfield=mode=bff,"),
        Some(Scan::Progressive) | None => {}
    }
    let mode = if fields == Fields::PerField { "send_field" } else { "send_frame" };
    let _ = write!(spec, "bwdif=mode={mode}:deint=interlaced,");
}

/// What is to be done beside scaling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Needs {
    /// The matrix to come from, by swscale's name, where it is not BT.709.
    matrix: Option<&'static str>,
    /// Full range comes in.
    range: bool,
    /// PQ or HLG comes in, with this peak in cd/m².
    tone_map: Option<u32>,
    /// More than 8 bits come in.
    deep: bool,
}

impl Needs {
    fn of(shape: &Shape, told: Told) -> Self {
        let (_, transfer, matrix) = shape.colour;
        let matrix = match matrix {
            4..=6 => Some("bt601"),
            7 => Some("smpte240m"),
            9 | 10 => Some("bt2020"),
            // Unstated: by size (AVP-24).
            2 | 3 if shape.height < 720 => Some("bt601"),
            _ => None,
        };
        let tone_map = match transfer {
            16 => Some(told.peak.unwrap_or(PEAK)),
            18 => Some(PEAK),
            _ => None,
        };
        Self { matrix, range: shape.full_range, tone_map, deep: shape.depth > 8 }
    }

    fn options(self) -> String {
        let mut text = String::new();
        if let Some(matrix) = self.matrix {
            let _ = write!(text, ":in_color_matrix={matrix}:out_color_matrix=bt709");
        }
        if self.range {
            text += ":in_range=pc:out_range=tv";
        }
        text
    }
}

/// Scaling on the device, where nothing else is to be done.
fn on_device(place: Place, sizes: &[(u32, u32)]) -> Option<String> {
    let (filter, options, stay) = match place {
        Place::Cuda { stay } => ("scale_cuda", ":format=nv12:interp_algo=bicubic", stay),
        Place::Vaapi { stay } => ("scale_vaapi", ":format=nv12", stay),
        Place::Memory | Place::Elsewhere => return None,
    };
    let mut spec = String::from("[in]");
    for (index, (width, height)) in sizes.iter().enumerate() {
        let _ = write!(spec, "{filter}=w={width}:h={height}{options}");
        let last = index + 1 == sizes.len();
        let fetch = if stay { "null" } else { "hwdownload,format=nv12" };
        if last {
            let _ = write!(spec, ",{fetch}[out{index}]");
        } else {
            let _ = write!(spec, ",split[d{index}][t{index}];[d{index}]{fetch}[out{index}];[t{index}]");
        }
    }
    Some(spec)
}

/// The software cascade, behind what `spec` holds.
fn cascade(spec: &mut String, shape: &Shape, needs: Needs, sizes: &[(u32, u32)], can_map: bool) {
    let mut from = shown_size(shape);
    for (index, &(width, height)) in sizes.iter().enumerate() {
        if index == 0 {
            convert(spec, shape, needs, (width, height), from, can_map);
        } else if from != (width, height) {
            let (w, h) = fit(from, (width, height));
            let _ = write!(spec, "scale=w={w}:h={h}:flags={SCALER}");
            bars(spec, (w, h), (width, height));
            spec.push_str(",setsar=1");
        } else {
            spec.push_str("null");
        }
        from = (width, height);
        if index + 1 == sizes.len() {
            let _ = write!(spec, "[out{index}]");
        } else {
            let _ = write!(spec, ",split[out{index}][t{index}];[t{index}]");
        }
    }
}

/// The first step: scale, colours, bars.
fn convert(
    spec: &mut String,
    shape: &Shape,
    needs: Needs,
    canvas: (u32, u32),
    from: (u32, u32),
    can_map: bool,
) {
    let (w, h) = fit(from, canvas);
    if let Some(peak) = needs.tone_map.filter(|_| can_map) {
        let transfer = if shape.colour.1 == 18 { "arib-std-b67" } else { "smpte2084" };
        let range = if shape.full_range { "pc" } else { "tv" };
        let peak = f64::from(peak) / f64::from(WHITE);
        // Scaled first, as floats are dear. What the track alone says has to stand on the pictures for what comes behind.
        let _ = write!(
            spec,
            "setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc,\
             zscale=w={w}:h={h}:filter=bicubic:tin={transfer}:min=bt2020nc:pin=bt2020:rin={range}:t=linear:npl={WHITE},\
             format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=2:peak={peak:.2},\
             zscale=t=bt709:m=bt709:r=tv:dither=ordered,format=yuv420p"
        );
    } else {
        let options = needs.options();
        let _ = write!(spec, "scale=w={w}:h={h}:flags={SCALER}{options},format=yuv420p");
    }
    bars(spec, (w, h), canvas);
    spec.push_str(",setsar=1");
}

fn bars(spec: &mut String, picture: (u32, u32), canvas: (u32, u32)) {
    if picture != canvas {
        let x = (canvas.0 - picture.0) / 4 * 2;
        let y = (canvas.1 - picture.1) / 4 * 2;
        let _ = write!(spec, ",pad=w={}:h={}:x={x}:y={y}:color=black", canvas.0, canvas.1);
    }
}

/// The size that a picture is shown in, with square pixels. A ratio that cannot be meant counts as 1:1 (AVP-21).
fn shown_size(shape: &Shape) -> (u32, u32) {
    let (num, den) = (i64::from(shape.sar.0), i64::from(shape.sar.1));
    let sane = num > 0 && den > 0 && num <= 4 * den && den <= 4 * num;
    if !sane {
        return (shape.width, shape.height);
    }
    let width = (i64::from(shape.width) * num + den / 2) / den;
    (u32::try_from(width).unwrap_or(shape.width).max(1), shape.height)
}

/// The largest even size of this shape within the canvas; the canvas itself where the difference is below 1 %, as
/// rounding to even sizes makes it.
fn fit(from: (u32, u32), canvas: (u32, u32)) -> (u32, u32) {
    let (w, h) = (u64::from(from.0.max(1)), u64::from(from.1.max(1)));
    let (cw, ch) = (u64::from(canvas.0), u64::from(canvas.1));
    let (a, b) = (w * ch, h * cw);
    if a.abs_diff(b) * 100 <= a.max(b) {
        return canvas;
    }
    let even = |value: u64| u32::try_from(value / 2 * 2).unwrap_or_default().max(2);
    if a > b { (canvas.0, even(cw * h / w)) } else { (even(ch * w / h), canvas.1) }
}

fn fits_all(shape: &Shape, sizes: &[(u32, u32)]) -> bool {
    let from = shown_size(shape);
    sizes.iter().all(|size| fit(from, *size) == *size)
}

#[cfg(test)]
mod tests {
    use aqueduct_common::codec::{ContentLight, MasteringDisplay};
    use ffmpeg_next::format::Pixel;

    use super::*;

    const ALL: Means = Means { tone_map: true, deinterlace: true };

    fn shape(width: u32, height: u32) -> Shape {
        let (format, colour) = (Pixel::YUV420P, (1, 1, 1));
        Shape { width, height, format, sar: (1, 1), colour, full_range: false, depth: 8, scan: None }
    }

    fn memory(shape: &Shape, fields: Fields, sizes: &[(u32, u32)]) -> Recipe {
        at(Place::Memory, shape, fields, sizes)
    }

    fn at(place: Place, shape: &Shape, fields: Fields, sizes: &[(u32, u32)]) -> Recipe {
        recipe(shape, Told::default(), fields, place, sizes, ALL)
    }

    #[test]
    fn the_usual_ladder_is_a_cascade_and_nothing_else() {
        let recipe = memory(&shape(1_280, 720), Fields::Progressive, &[(1_280, 720), (640, 360)]);
        assert_eq!(
            recipe.spec,
            "[in]scale=w=1280:h=720:flags=bicublin,format=yuv420p,setsar=1,split[out0][t0];\
             [t0]scale=w=640:h=360:flags=bicublin,setsar=1[out1]"
        );
        assert!(!recipe.delayed);
    }

    #[test]
    fn a_small_source_without_words_is_bt601_and_full_range_becomes_limited() {
        let source = Shape { colour: (2, 2, 2), full_range: true, ..shape(640, 480) };
        let spec = memory(&source, Fields::Progressive, &[(320, 240)]).spec;
        assert!(spec.contains(":in_color_matrix=bt601:out_color_matrix=bt709:in_range=pc:out_range=tv"));
        let source = Shape { colour: (2, 2, 2), ..shape(1_280, 720) };
        assert!(!memory(&source, Fields::Progressive, &[(640, 360)]).spec.contains("matrix"));
    }

    #[test]
    fn a_turned_source_stands_between_bars() {
        let spec = memory(&shape(720, 1_280), Fields::Progressive, &[(1_280, 720), (640, 360)]).spec;
        assert!(spec.contains("scale=w=404:h=720"), "{spec}");
        assert!(spec.contains("pad=w=1280:h=720:x=438:y=0:color=black"), "{spec}");
        assert!(spec.contains("scale=w=640:h=360"), "the bars are scaled along: {spec}");
    }

    #[test]
    fn unsquare_pixels_are_made_square_and_bogus_ratios_ignored() {
        let source = Shape { sar: (64, 45), ..shape(720, 576) };
        assert_eq!(shown_size(&source), (1_024, 576));
        assert_eq!(shown_size(&Shape { sar: (8, 9), ..shape(720, 480) }), (640, 480));
        for sar in [(0, 1), (1, 0), (-1, 1), (9, 2), (1, 5)] {
            assert_eq!(shown_size(&Shape { sar, ..shape(720, 480) }), (720, 480), "{sar:?}");
        }
        assert!(!memory(&source, Fields::Progressive, &[(1_024, 576)]).spec.contains("pad="));
    }

    #[test]
    fn fields_are_joined_one_for_one_or_doubled() {
        let per_frame = memory(&shape(1_920, 1_080), Fields::PerFrame, &[(1_280, 720)]);
        assert!(
            per_frame.delayed && per_frame.spec.starts_with("[in]bwdif=mode=send_frame:deint=interlaced,")
        );
        let per_field = memory(&shape(1_920, 1_080), Fields::PerField, &[(1_280, 720)]);
        assert!(per_field.spec.contains("send_field"));
    }

    #[test]
    fn hdr_is_mapped_where_the_filters_are_there_and_said_where_not() {
        let source = Shape { colour: (9, 16, 9), depth: 10, ..shape(1_920, 1_080) };
        let mapped = memory(&source, Fields::Progressive, &[(1_280, 720)]);
        assert!(mapped.spec.contains("tin=smpte2084") && mapped.spec.contains("tonemap="));
        let means = Means { tone_map: false, ..ALL };
        let sizes = [(1_280, 720)];
        let plain = recipe(&source, Told::default(), Fields::Progressive, Place::Memory, &sizes, means);
        assert!(plain.lacks.is_some() && !plain.spec.contains("tonemap"));
    }

    #[test]
    fn pq_is_mapped_from_the_peak_that_is_told_and_hlg_from_its_own() {
        let (light, display) =
            (ContentLight { max_content: 4_000, max_average: 0 }, MasteringDisplay::default());
        let lit = |nits: u32| MasteringDisplay { max_luminance: nits * 10_000, ..display };
        let hdr = |light, mastering| Hdr { light, mastering };
        assert_eq!(peak(&hdr(None, None)), None);
        assert_eq!(peak(&hdr(Some(light), None)), Some(4_000));
        assert_eq!(peak(&hdr(Some(light), Some(lit(1_200)))), Some(1_200), "no brighter than the display");
        assert_eq!(peak(&hdr(None, Some(lit(100)))), Some(WHITE));
        assert_eq!(peak(&hdr(Some(ContentLight { max_content: 0, ..light }), Some(lit(20_000)))), None);
        let mapped = |transfer, peak| {
            let source = Shape { colour: (9, transfer, 9), depth: 10, ..shape(1_920, 1_080) };
            let told = Told { colour: None, peak };
            recipe(&source, told, Fields::Progressive, Place::Memory, &[(1_280, 720)], ALL).spec
        };
        assert!(mapped(16, Some(2_030)).contains(":peak=10.00,"));
        assert!(mapped(16, None).contains(":peak=4.93,") && mapped(18, Some(2_030)).contains(":peak=4.93,"));
    }

    #[test]
    fn what_pictures_leave_unsaid_is_taken_from_the_track() {
        let colour = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
        let told = Told { colour, peak: None };
        let own = Shape { colour: (2, 2, 2), ..shape(1_280, 720) };
        assert_eq!(told.complete(own).colour, (9, 16, 9));
        let own = Shape { colour: (1, 2, 1), ..own };
        assert_eq!(told.complete(own).colour, (1, 16, 1), "a picture knows better");
        assert_eq!(Told::default().complete(own), own);
    }

    #[test]
    fn what_was_seen_of_fields_overrules_what_is_said() {
        let sizes = [(1_280, 720)];
        let scanned =
            |scan| memory(&Shape { scan: Some(scan), ..shape(1_920, 1_080) }, Fields::PerFrame, &sizes);
        let (upper, lower) = (scanned(Scan::UpperFirst), scanned(Scan::LowerFirst));
        assert!(upper.spec.starts_with("[in]setfield=mode=tff,bwdif=mode=send_frame:deint=interlaced,"));
        assert!(lower.spec.starts_with("[in]setfield=mode=bff,bwdif=") && lower.delayed);
        let whole = scanned(Scan::Progressive);
        assert!(!whole.spec.contains("bwdif") && !whole.delayed, "{}", whole.spec);
    }

    #[test]
    fn a_device_scales_what_is_plain_and_gives_back_the_rest() {
        let place = Place::Cuda { stay: false };
        let sizes = [(1_280, 720), (640, 360)];
        let plain = at(place, &shape(1_280, 720), Fields::Progressive, &sizes).spec;
        assert!(
            plain.starts_with("[in]scale_cuda=w=1280:h=720")
                && plain.contains("hwdownload,format=nv12[out1]")
        );
        let stay = at(Place::Cuda { stay: true }, &shape(1_280, 720), Fields::Progressive, &sizes).spec;
        assert!(!stay.contains("hwdownload"));
        let fields = at(place, &shape(1_280, 720), Fields::PerFrame, &sizes).spec;
        assert!(fields.starts_with("[in]hwdownload,format=nv12,bwdif"));
        let deep = Shape { depth: 10, ..shape(1_280, 720) };
        let deep = at(place, &deep, Fields::Progressive, &sizes).spec;
        assert!(deep.contains("hwdownload,format=p010le,scale="));
    }
}
