//! The rules: each has the number of the requirement it keeps, and a name that says what is wrong.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A player may do worse for it, or the rule is only a recommendation.
    Warning,
    /// The stream breaks a rule that players rely on.
    Error,
}

/// One rule that a stream can break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
pub struct Rule {
    /// Number of the requirement: `LLHLS-2`, `CMAF-8`, `TL-28`.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// How bad that is.
    pub severity: Severity,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.name)
    }
}

macro_rules! rules {
    ($($constant:ident $severity:ident $id:literal $name:literal;)*) => {
        $(#[doc = $name] pub const $constant: Rule = Rule { id: $id, name: $name, severity: Severity::$severity };)*
        /// Every rule.
        pub const ALL: &[Rule] = &[$($constant),*];
    };
}

rules! {
    // The text of a media playlist.
    SYNTAX Error "LLHLS-D" "a line is not valid";
    UNKNOWN_TAG Warning "LLHLS-D" "an unknown tag";
    HEADER_TAG Error "LLHLS-D" "a header tag is missing, repeated or out of place";
    VERSION Error "LLHLS-D" "EXT-X-VERSION is too low for the tags used";
    LATE_TAG Error "LLHLS-10" "DISCONTINUITY, KEY, MAP or PROGRAM-DATE-TIME after the segment's first part";
    MAP_MISSING Error "CMAF-4" "a segment without EXT-X-MAP";
    PDT_MISSING Error "TL-35" "a segment without PROGRAM-DATE-TIME";
    PDT_FORM Error "TL-34" "PROGRAM-DATE-TIME is not UTC with three decimals";
    DECIMALS Error "LLHLS-11" "a duration with fewer than five decimals";

    // One playlist's numbers.
    SEGMENT_OVER_TARGET Error "LLHLS-1" "a segment is longer than TARGETDURATION";
    PART_OVER_TARGET Error "LLHLS-2" "a part is longer than PART-TARGET";
    PART_TARGET_RANGE Warning "LLHLS-5" "PART-TARGET is outside 0.1 to 1.0 s";
    PART_TOO_SHORT Error "LLHLS-3" "a part is shorter than 85 % of PART-TARGET";
    PART_SHORT_BY_SOURCE Warning "LLHLS-3" "a part is shorter than 85 % of PART-TARGET, as the source's next frame is too long for it";
    EXTINF_SUM Error "LLHLS-11" "EXTINF differs from the sum of its parts";
    AUDIO_INDEPENDENT Error "LLHLS-6" "an audio part is not INDEPENDENT";
    PARTS_DROPPED_EARLY Error "LLHLS-7" "parts are not listed for the newest 3 target durations";
    PARTS_KEPT_LONG Warning "LLHLS-7" "parts are listed for more than 6 target durations";
    EMPTY_LIST Error "LLHLS-9" "a live playlist without a complete segment";
    MSN_ZERO Error "LLHLS-13" "MEDIA-SEQUENCE begins below 1";
    CONTROL Error "LLHLS-12" "SERVER-CONTROL lacks or contradicts a required attribute";
    WINDOW_SHORT Error "LLHLS-14" "less than 3 target durations are listed";
    PLAYLIST_TYPE Error "LLHLS-14" "PLAYLIST-TYPE on a sliding list";
    HINT Error "LLHLS-15" "not exactly one hint of the next part";
    HINT_BROKEN Error "LLHLS-15" "the next part is not the one that was hinted";
    REPORT_MISSING Error "LLHLS-16" "a rendition without RENDITION-REPORT, or one that names no rendition";
    REPORT_FALSE Error "LLHLS-16" "RENDITION-REPORT is ahead of what the rendition serves";
    REPORT_STALE Error "LLHLS-16" "RENDITION-REPORT is far behind what the rendition serves";
    GAP_FORM Error "LLHLS-18" "EXT-X-GAP and the GAP of parts contradict each other";
    ENDLIST_REST Error "LLHLS-17" "ENDLIST together with parts, a hint, reports or an open segment";

    // One playlist after another.
    CONSTANT Error "LLHLS-1" "TARGETDURATION, PART-TARGET, SERVER-CONTROL or VERSION changed";
    MSN_BACK Error "LLHLS-13" "MEDIA-SEQUENCE or the live edge went back";
    MSN_REMOVED Error "LLHLS-13" "MEDIA-SEQUENCE does not count the removed segments";
    DISCONTINUITY_SEQUENCE Error "LLHLS-13" "DISCONTINUITY-SEQUENCE does not count the removed tags";
    REWRITTEN Error "LLHLS-19" "a segment or part that was listed has changed";
    PDT_HOLE Error "TL-33" "PROGRAM-DATE-TIME does not follow the durations";
    AFTER_END Error "LLHLS-17" "the playlist changed after ENDLIST";
    STALLED Warning "LLHLS-4" "no new part within three part targets";

    // Renditions beside each other.
    PDT_APART Error "TL-38" "renditions give the same segment different times";
    DISCONTINUITY_APART Error "TL-28" "renditions have different discontinuities";
    CONTROL_APART Error "LLHLS-12" "renditions differ in TARGETDURATION, PART-TARGET or SERVER-CONTROL";
    LOCKSTEP Warning "LLHLS-16" "a rendition is often more than a part behind another";
    RUNG_START Error "TL-38" "rungs begin the same segment at different times";
    RUNG_SYNC Error "TL-30" "a rung's segment does not begin with a sync sample where another's does";
    RUNG_DELAY Error "TL-41" "rungs have different reorder delays";
    AUDIO_START Error "TL-38" "audio starts more than half an access unit from the video's boundary";

    AUDIO_NEAR Warning "TL-38" "audio starts more than half an access unit, but less than a frame more, from the boundary";

    // The multivariant playlist.
    MULTIVARIANT Error "LLHLS-33" "the multivariant playlist is not valid";
    VARIANT Error "LLHLS-33" "a variant lacks BANDWIDTH, CODECS, RESOLUTION or FRAME-RATE";
    FRAME_RATE Error "LLHLS-33" "FRAME-RATE is not that of the media";
    AUDIO_GROUP Error "LLHLS-34" "an audio group is missing or incomplete";
    CODECS Error "CMAF-5" "CODECS or RESOLUTION differs from the init segment";
    BANDWIDTH Error "LLHLS-33" "a segment exceeds BANDWIDTH";
    AVERAGE Warning "LLHLS-33" "segments are on average above 110 % of AVERAGE-BANDWIDTH";
    M3U8_RS Error "LLHLS-D" "an independent parser reads other segments";

    // Init segments.
    INIT_BOXES Error "CMAF-1" "boxes of the init segment are missing, extra or out of order";
    INIT_FIELDS Error "CMAF-2" "a field of the init segment is wrong";
    INIT_ENTRY Error "CMAF-5" "the sample entry is not one that players take";
    INIT_REUSED Error "CMAF-4" "an init URI was reused for other bytes";

    // Chunks.
    CHUNK_BOXES Error "CMAF-8" "boxes of a chunk are missing, extra or out of order";
    CHUNK_FIELDS Error "CMAF-9" "a field of a chunk is wrong";
    SEQUENCE Error "CMAF-9" "mfhd sequence_number does not grow by one";
    SAMPLE_FLAGS Error "CMAF-10" "sample flags contradict the coded picture";
    ZERO_DURATION Error "CMAF-11" "a sample of no duration";
    ONLY_SEI Error "CMAF-13" "a sample without a coded picture";
    IN_BAND Warning "CMAF-5" "access unit delimiters are left in the samples";
    NAL_LENGTHS Error "CMAF-8" "NAL unit lengths do not fill the sample";
    PART_DURATION Error "LLHLS-11" "a part's media is not as long as its DURATION";
    INDEPENDENT_FALSE Error "LLHLS-6" "INDEPENDENT does not tell the truth";
    SEGMENT_START Error "LLHLS-5" "a segment does not start with a sync sample though INDEPENDENT-SEGMENTS says so";
    HOLE Error "TL-37" "a hole or an overlap in media time";
    SEGMENT_BYTES Error "CMAF-8" "a segment is not the concatenation of its parts";

    // Fetching.
    UNFETCHABLE Error "LLHLS-28" "a listed URI cannot be fetched";
    HINT_UNSERVED Error "LLHLS-26" "the hinted part was not served when it was complete";
    UNBLOCKED Error "LLHLS-23" "the answer does not contain what was asked for";
    HELD_TOO_LONG Error "LLHLS-23" "a request was held beyond the limit";
    GAVE_UP Warning "LLHLS-24" "a held request was answered 503";
    BAD_DIRECTIVE Error "LLHLS-21" "a malformed or unknown directive was answered wrongly";
    TOO_FAR Error "LLHLS-22" "a request too far ahead was not answered 400";
    OLD_DIRECTIVE Error "LLHLS-21" "a request for what is long listed was not answered at once";
    FUTURE_NAME Error "LLHLS-27" "a future or unknown name was not answered 404 at once";
    DELTA Error "LLHLS-29" "a delta update does not give the full list";
    CONTENT_TYPE Error "LLHLS-I" "the Content-Type is wrong";
    CACHE_CONTROL Error "LLHLS-I" "the Cache-Control is wrong";
    GZIP Error "LLHLS-38" "gzip is missing on a playlist or present on media";
    ETAG Error "LLHLS-38" "ETag or If-None-Match is not honoured";
    RANGE Error "LLHLS-38" "byte ranges are not honoured";
    HEAD Error "LLHLS-38" "HEAD differs from GET";
    CORS Error "LLHLS-39" "CORS headers are missing";
    DATE Error "LLHLS-40" "Date is missing";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_share_number_and_name() {
        let mut names: Vec<_> = ALL.iter().map(|rule| (rule.id, rule.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
