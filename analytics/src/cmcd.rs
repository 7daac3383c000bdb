//! Common Media Client Data, versions 1 and 2 (CTA-5004): what a player writes on its requests and in its events.
//!
//! Pure and liberal (QOE-1 to QOE-7): an invalid key costs that key alone, an unknown one nothing, and no input costs
//! more than its own length.

mod scan;
mod words;

use scan::{Broken, Scanner, Value, unescape};
pub use words::{ObjectType, Occasion, PlayState};

/// Bytes of a list that are read (QOE-2).
const LONGEST: usize = 2_048;
/// Keys of a list that are read (QOE-2).
const MOST_KEYS: usize = 64;
/// QOE-10: greater values are nonsense.
const MOST_KBPS: u64 = 200_000;
const MOST_BUFFER: u64 = 600_000;
const MOST_LATENCY: u64 = 3_600_000;

/// What one list says, as far as anybody here wants to know.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cmcd {
    /// 1 unless it says otherwise.
    pub version: u8,
    /// The session.
    pub session: Option<String>,
    /// What the player does.
    pub state: Option<PlayState>,
    /// What was asked for.
    pub object: Option<ObjectType>,
    /// Why this was sent, where it was sent by itself.
    pub occasion: Option<Occasion>,
    /// Encoded bitrate of what is asked for, in kilobits a second.
    pub bitrate_kbps: Option<u32>,
    /// Bitrate at the playhead, in kilobits a second.
    pub playhead_kbps: Option<u32>,
    /// Buffered media, in milliseconds.
    pub buffer_millis: Option<u32>,
    /// Distance behind the live edge, in milliseconds.
    pub latency_millis: Option<u32>,
    /// Measured throughput, in kilobits a second.
    pub throughput_kbps: Option<u32>,
    /// From the wish to play to playing, in milliseconds. Told once.
    pub start_millis: Option<u32>,
    /// Playback rate in thousandths.
    pub rate_milli: Option<u32>,
    /// It is still starting up.
    pub starting: bool,
    /// The buffer ran empty since the last report.
    pub starved: bool,
    /// Stalls since the session began.
    pub stalls: Option<u32>,
    /// Milliseconds of stalls since the session began.
    pub stall_millis: Option<u32>,
    /// Frames dropped since the session began.
    pub dropped_frames: Option<u32>,
    /// When the player sent it, in milliseconds since 1970 by its own clock.
    pub sent_millis: Option<i64>,
    /// Number of the report in its session.
    pub number: Option<u32>,
    /// An error code came along.
    pub error: bool,
}

/// Keys that could not be taken, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Invalid {
    /// Not written as CMCD is.
    pub syntax: u32,
    /// Not of the key's type, or beyond what it may be.
    pub value: u32,
    /// Beyond the bounds of a list.
    pub excess: u32,
}

impl Invalid {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.syntax = self.syntax.saturating_add(other.syntax);
        self.value = self.value.saturating_add(other.value);
        self.excess = self.excess.saturating_add(other.excess);
    }
}

/// Reads the value of a query's `CMCD`, still escaped.
pub fn read_query(value: &str) -> (Cmcd, Invalid) {
    read(&unescape(value))
}

/// Reads one list: headers with commas between them, a line of a body, or an unescaped query.
pub fn read(text: &str) -> (Cmcd, Invalid) {
    let (mut list, mut invalid) = (Cmcd { version: 1, ..Cmcd::default() }, Invalid::default());
    let text = match text.char_indices().find(|(at, c)| at + c.len_utf8() > LONGEST) {
        Some((end, _)) => {
            invalid.excess += 1;
            &text[..end]
        }
        None => text,
    };
    let mut scanner = Scanner::new(text);
    let mut keys = 0;
    while let Some(pair) = scanner.pair() {
        keys += 1;
        if keys > MOST_KEYS {
            invalid.excess += 1;
            break;
        }
        match pair {
            Ok((key, value)) => invalid.value += u32::from(!list.take(key, &value)),
            Err(Broken) => invalid.syntax += 1,
        }
    }
    (list, invalid)
}

impl Cmcd {
    /// Takes a key; whether it was of use, or is none of ours.
    fn take(&mut self, key: &str, value: &Value<'_>) -> bool {
        fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
            let good = value.is_some();
            if good {
                *slot = value;
            }
            good
        }
        const MANY: u64 = u32::MAX as u64;
        match key {
            "v" => match value.number(99) {
                Some(version) => {
                    self.version = version as u8;
                    true
                }
                None => false,
            },
            "sid" => set(&mut self.session, value.name()),
            "sta" => set(&mut self.state, value.word().and_then(PlayState::read)),
            "ot" => set(&mut self.object, value.word().and_then(ObjectType::read)),
            "e" => set(&mut self.occasion, value.word().map(Occasion::read)),
            "br" => set(&mut self.bitrate_kbps, value.number(MOST_KBPS)),
            "pb" => set(&mut self.playhead_kbps, value.number(MOST_KBPS)),
            "bl" => set(&mut self.buffer_millis, value.number(MOST_BUFFER)),
            "ltc" => set(&mut self.latency_millis, value.number(MOST_LATENCY)),
            "mtp" => set(&mut self.throughput_kbps, value.number(100 * MOST_KBPS)),
            "msd" => set(&mut self.start_millis, value.number(MOST_LATENCY)),
            "pr" => set(&mut self.rate_milli, rate(value)),
            "su" => flag(&mut self.starting, value),
            "bs" => flag(&mut self.starved, value),
            "bsa" => set(&mut self.stalls, value.number(1_000_000)),
            "bsda" => set(&mut self.stall_millis, value.number(MANY)),
            "dfa" => set(&mut self.dropped_frames, value.number(MANY)),
            "sn" => set(&mut self.number, value.number(MANY)),
            "ts" => {
                let millis = value.word().and_then(|word| word.parse().ok());
                set(&mut self.sent_millis, millis.filter(|millis| (0..=1 << 53).contains(millis)))
            }
            "ec" => {
                self.error = true;
                true
            }
            // Known ones that nobody here asks for, later ones, and those with a hyphen, which are anybody's own.
            _ => true,
        }
    }

    /// As a player would write it: keys sorted, what is not known left out.
    pub fn write(&self) -> String {
        let number = |key: &str, value: Option<u32>| value.map(|value| format!("{key}={value}"));
        let keys = [
            number("bl", self.buffer_millis),
            number("br", self.bitrate_kbps),
            self.starved.then(|| "bs".into()),
            number("bsa", self.stalls),
            number("bsda", self.stall_millis),
            number("dfa", self.dropped_frames),
            self.occasion.map(|occasion| format!("e={}", occasion.as_str())),
            self.error.then(|| "ec=(\"error\")".into()),
            number("ltc", self.latency_millis),
            number("msd", self.start_millis),
            number("mtp", self.throughput_kbps),
            self.object.map(|object| format!("ot={}", object.as_str())),
            number("pb", self.playhead_kbps),
            self.rate_milli.map(|rate| format!("pr={}", f64::from(rate) / 1_000.0)),
            self.session
                .as_ref()
                .map(|name| format!("sid=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))),
            number("sn", self.number),
            self.state.map(|state| format!("sta={}", state.as_str())),
            self.starting.then(|| "su".into()),
            self.sent_millis.map(|millis| format!("ts={millis}")),
            (self.version != 1).then(|| format!("v={}", self.version)),
        ];
        keys.into_iter().flatten().collect::<Vec<_>>().join(",")
    }
}

fn flag(slot: &mut bool, value: &Value<'_>) -> bool {
    value.flag().inspect(|set| *slot = *set).is_some()
}

fn rate(value: &Value<'_>) -> Option<u32> {
    let rate: f64 = value.word()?.parse().ok()?;
    (0.0..=16.0).contains(&rate).then(|| (rate * 1_000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::scan::LONGEST_NAME;
    use super::*;

    #[test]
    fn the_worked_examples_of_the_rule_are_read() {
        let query = "bl%3D1200%2Cbr%3D3300%2Ccid%3D%22s7k2%22%2Cd%3D500%2Cdl%3D1200%2Cmtp%3D18400%2Cnor%3D%22p125.m4s%22\
                     %2Cot%3Dv%2Crtp%3D16500%2Csf%3Dh%2Csid%3D%225f0c%22%2Cst%3Dll%2Ctb%3D6200";
        let (list, invalid) = read_query(query);
        assert_eq!(invalid, Invalid::default());
        assert_eq!(list.session.as_deref(), Some("5f0c"));
        assert_eq!((list.bitrate_kbps, list.buffer_millis, list.version), (Some(3_300), Some(1_200), 1));
        assert_eq!((list.throughput_kbps, list.object), (Some(18_400), Some(ObjectType::Video)));

        // Headers, joined.
        let (list, _) = read("br=3300,d=500,ot=v,tb=6200, bl=1200,dl=1200,nor=\"p125.m4s\", sid=\"5f0c\",su");
        assert!(list.starting && list.session.as_deref() == Some("5f0c"));

        let (list, invalid) = read("bl=(1200),e=ps,sid=\"5f0c\",sn=7,sta=r,ts=1763634005120,v=2");
        assert_eq!(invalid, Invalid::default());
        assert_eq!((list.version, list.number, list.buffer_millis), (2, Some(7), Some(1_200)));
        assert_eq!((list.occasion, list.state), (Some(Occasion::PlayState), Some(PlayState::Rebuffering)));
        assert_eq!(list.sent_millis, Some(1_763_634_005_120));

        let (list, invalid) =
            read("br=(128;a 3200;v),nor=(\"p124.m4s\" \"p125.m4s\";r=\"0-999\"),bsa=(3),ec=(\"x\")");
        assert_eq!(invalid, Invalid::default());
        assert_eq!((list.bitrate_kbps, list.stalls, list.error), (Some(3_200), Some(3), true));
    }

    #[test]
    fn an_invalid_key_costs_itself_alone() {
        let (list, invalid) = read("br=999999999,sid=\"ok\",bl=-5,pr=NaN,bs=maybe,=3,sta=zz,x-own=1,ot=v");
        assert_eq!((list.session.as_deref(), list.object), (Some("ok"), Some(ObjectType::Video)));
        assert_eq!(invalid, Invalid { syntax: 1, value: 5, excess: 0 });
        let (list, invalid) = read("sid=\"open,bl=3");
        assert_eq!((list.session, invalid.syntax), (None, 1));
        let (_, invalid) = read(&"a=1,".repeat(70));
        assert_eq!(invalid.excess, 1);
        let (_, invalid) = read(&format!("sid=\"{}\",bl=1", "é".repeat(2_000)));
        assert_eq!((invalid.excess, invalid.syntax), (1, 1));
    }

    prop_compose! {
        fn numbers()(
            bitrate_kbps in of(0..200_000u32), playhead_kbps in of(0..200_000u32), buffer_millis in of(0..600_000u32),
            latency_millis in of(0..3_600_000u32), start_millis in of(0..3_600_000u32), throughput_kbps in of(0..1_000_000u32),
            stalls in of(0..1_000_000u32), stall_millis in of(any::<u32>()), dropped_frames in of(any::<u32>()),
            number in of(any::<u32>()), rate_milli in of(0..16_000u32), sent_millis in of(0..1i64 << 53),
        ) -> Cmcd {
            Cmcd {
                bitrate_kbps, playhead_kbps, buffer_millis, latency_millis, start_millis, throughput_kbps, stalls,
                stall_millis, dropped_frames, number, rate_milli, sent_millis, ..Cmcd::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in numbers(), version in 1..3u8, session in of("[ -~]{1,64}"), starting: bool, starved: bool, error: bool,
            state in of(proptest::sample::select(vec!["s", "p", "k", "r", "a", "e", "f", "q"])),
            object in of(proptest::sample::select(vec!["m", "v", "a", "o"])),
            occasion in of(proptest::sample::select(vec!["ps", "e", "t", "bc", "c"])),
        ) {
            let list = Cmcd {
                version, session, starting, starved, error,
                state: state.and_then(PlayState::read),
                object: object.and_then(ObjectType::read),
                occasion: occasion.map(Occasion::read),
                ..numbers
            };
            let text = list.write();
            prop_assert_eq!(read(&text), (list.clone(), Invalid::default()), "{}", text);
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            if escaped.len() < 6 * 1_024 {
                prop_assert_eq!(read_query(&escaped), (list, Invalid::default()));
            }
        }

        #[test]
        fn whatever_comes_is_read_or_left(text in "\\PC{0,200}|[a-z=,;()\"\\\\ 0-9%.-]{0,200}") {
            let (list, _) = read(&text);
            prop_assert!(list.session.is_none_or(|name| name.chars().count() <= LONGEST_NAME));
            let _ = read_query(&text);
        }
    }
}
