//! Figures as people read them.

/// `6.1 Mbit/s`.
pub(super) fn bits(bits: f64) -> String {
    match bits {
        bits if bits >= 9.95e8 => format!("{:.1} Gbit/s", bits / 1e9),
        bits if bits >= 9.95e5 => format!("{:.1} Mbit/s", bits / 1e6),
        bits if bits >= 500.0 => format!("{:.0} kbit/s", bits / 1e3),
        _ => "–".into(),
    }
}

/// `0.93 s`.
pub(super) fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".into(), |seconds| format!("{seconds:.2} s"))
}

/// `0.4 %`.
pub(super) fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".into(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// `1 h 23 min`: the two greatest units.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// Bars of eight heights, the newest at the right, at most `width` of them: each is a share of the greatest one.
pub(super) fn sparkline(values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut values: Vec<f64> = values.rev().take(width).collect();
    values.reverse();
    let most = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: f64| {
        if value.is_nan() || value <= 0.0 {
            return ' ';
        }
        BARS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1]
    };
    let bars: String = values.into_iter().map(bar).collect();
    format!("{bars:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_say_when_there_are_none() {
        assert_eq!(
            [bits(6.12e6), bits(3.7e9), bits(128_000.0), bits(0.0)],
            ["6.1 Mbit/s", "3.7 Gbit/s", "128 kbit/s", "–"]
        );
        assert_eq!([seconds(Some(0.934)), seconds(None), percent(Some(0.004))], ["0.93 s", "–", "0.4 %"]);
        assert_eq!(
            [span(59), span(83), span(4_980), span(90_000)],
            ["59 s", "1 min 23 s", "1 h 23 min", "1 d 1 h"]
        );
        assert_eq!(sparkline([0.0, 1.0, 4.0, 8.0, f64::NAN].into_iter(), 7), "   ▁▄█ ");
        assert_eq!(sparkline([1.0, 1.0, 2.0].into_iter(), 2), "▄█");
    }
}
