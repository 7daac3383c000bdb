//! Metrics as OTLP has them, of the text that Prometheus is given: one registry, the same names and figures in both. Pure.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};

use super::{Sender, text};

/// The message of this moment: `openmetrics` as this program writes it, counted since `began`.
pub(super) fn request(
    sender: &Sender,
    openmetrics: &str,
    began: u64,
    now: u64,
) -> ExportMetricsServiceRequest {
    let scope_metrics = ScopeMetrics {
        scope: Some(sender.scope.clone()),
        metrics: read(openmetrics, began, now),
        ..ScopeMetrics::default()
    };
    let resource_metrics = ResourceMetrics {
        resource: Some(sender.resource.clone()),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
}

/// What a family of samples is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A family under way.
struct Family<'a> {
    name: &'a str,
    kind: Kind,
    help: &'a str,
    points: Vec<NumberDataPoint>,
    histograms: BTreeMap<String, HistogramDataPoint>,
}

fn read(openmetrics: &str, began: u64, now: u64) -> Vec<Metric> {
    let (mut metrics, mut help) = (Vec::new(), ("", ""));
    let mut family: Option<Family<'_>> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap_or((rest, ""));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            metrics.extend(family.take().and_then(Family::metric));
            family = rest.split_once(' ').and_then(|(name, kind)| Family::begin(name, kind, help));
        } else if !line.starts_with('#')
            && let (Some(family), Some(sample)) = (&mut family, Sample::read(line))
        {
            family.add(&sample, began, now);
        }
    }
    metrics.extend(family.and_then(Family::metric));
    metrics
}

/// One line.
#[derive(PartialEq, Debug)]
struct Sample<'a> {
    name: &'a str,
    /// As they are written, in their order.
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (key, after) = rest.trim_start_matches(',').split_once("=\"")?;
                let (value, after) = unquoted(after)?;
                labels.push((key, value));
                rest = after;
            }
            rest = rest.strip_prefix('}')?;
        }
        // What follows the value is a time or an exemplar.
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }
}

/// A label's value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (true, 'n') => value.push('\n'),
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, '"') => return Some((value, &text[at + 1..])),
            (_, c) => value.push(c),
        }
        escaped = false;
    }
    None
}

impl<'a> Family<'a> {
    fn begin(name: &'a str, kind: &str, (of, help): (&'a str, &'a str)) -> Option<Self> {
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" | "info" | "unknown" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            _ => return None,
        };
        let help = if of == name { help.trim_end_matches('.') } else { "" };
        Some(Self { name, kind, help, points: Vec::new(), histograms: BTreeMap::new() })
    }

    fn add(&mut self, sample: &Sample<'_>, began: u64, now: u64) {
        let part = sample.name.strip_prefix(self.name).unwrap_or_default();
        let others = || sample.labels.iter().filter(|(key, _)| *key != "le");
        let attributes = || -> Vec<KeyValue> { others().map(|(key, value)| text(key, value)).collect() };
        if self.kind != Kind::Histogram {
            let start = if self.kind == Kind::Counter { began } else { 0 };
            self.points.push(NumberDataPoint {
                attributes: attributes(),
                start_time_unix_nano: start,
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsDouble(sample.value)),
                ..NumberDataPoint::default()
            });
            return;
        }
        let point = self.histograms.entry(format!("{:?}", others().collect::<Vec<_>>()));
        let point = point.or_insert_with(|| HistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: began,
            time_unix_nano: now,
            ..HistogramDataPoint::default()
        });
        match part {
            "_sum" => point.sum = Some(sample.value),
            "_count" => point.count = sample.value as u64,
            "_bucket" => {
                // Prometheus counts up to each bound, OTLP between them.
                let before: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push((sample.value as u64).saturating_sub(before));
                let bound = sample.labels.iter().find(|(key, _)| *key == "le");
                let bound = bound.and_then(|(_, bound)| bound.parse::<f64>().ok());
                point.explicit_bounds.extend(bound.filter(|bound| bound.is_finite()));
            }
            _ => {}
        }
    }

    fn metric(self) -> Option<Metric> {
        let temporality = AggregationTemporality::Cumulative as i32;
        let data = match self.kind {
            Kind::Gauge => metric::Data::Gauge(Gauge { data_points: self.points }),
            Kind::Counter => metric::Data::Sum(Sum {
                data_points: self.points,
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            Kind::Histogram => metric::Data::Histogram(Histogram {
                data_points: self.histograms.into_values().collect(),
                aggregation_temporality: temporality,
            }),
        };
        let empty = match &data {
            metric::Data::Gauge(gauge) => gauge.data_points.is_empty(),
            metric::Data::Sum(sum) => sum.data_points.is_empty(),
            metric::Data::Histogram(histogram) => histogram.data_points.is_empty(),
            _ => true,
        };
        let unit = match self.name {
            name if name.ends_with("_seconds") => "s",
            name if name.ends_with("_bytes") => "By",
            name if name.ends_with("_ratio") => "1",
            _ => "",
        };
        (!empty).then(|| Metric {
            name: self.name.into(),
            description: self.help.into(),
            unit: unit.into(),
            data: Some(data),
            ..Metric::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP aqueduct_viewers Viewers of the last 30 s.
# TYPE aqueduct_viewers gauge
aqueduct_viewers{stream=\"live/a\"} 3
aqueduct_viewers{stream=\"a \\\"b\\\" \\\\, {c}\"} 1.5
# HELP aqueduct_bytes Bytes.
# TYPE aqueduct_bytes counter
# UNIT aqueduct_bytes bytes
aqueduct_bytes_total{} 12
# TYPE aqueduct_lag_seconds histogram
aqueduct_lag_seconds_sum{kind=\"video\"} 0.75
aqueduct_lag_seconds_count{kind=\"video\"} 7
aqueduct_lag_seconds_bucket{le=\"0.1\",kind=\"video\"} 4
aqueduct_lag_seconds_bucket{le=\"0.5\",kind=\"video\"} 6
aqueduct_lag_seconds_bucket{le=\"+Inf\",kind=\"video\"} 7
# TYPE aqueduct_empty gauge
# EOF
";

    #[test]
    fn each_family_is_a_metric_of_its_kind() {
        let metrics = read(TEXT, 10, 20);
        let names: Vec<_> =
            metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(
            names,
            [("aqueduct_viewers", ""), ("aqueduct_bytes", "By"), ("aqueduct_lag_seconds", "s")]
        );
        let Some(metric::Data::Gauge(gauge)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert_eq!(metrics[0].description, "Viewers of the last 30 s");
        assert_eq!(gauge.data_points[1].attributes, [text("stream", "a \"b\" \\, {c}")]);
        let value = Some(number_data_point::Value::AsDouble(1.5));
        assert_eq!((&gauge.data_points[1].value, gauge.data_points[1].time_unix_nano), (&value, 20));
        let Some(metric::Data::Sum(sum)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        assert_eq!(sum.data_points[0].start_time_unix_nano, 10);
        let Some(metric::Data::Histogram(histogram)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (7, Some(0.75)));
        assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[4, 2, 1][..], &[0.1, 0.5][..]));
        assert_eq!(point.attributes, [text("kind", "video")]);
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_itself() {
        for line in ["", "x", "x{a=\"1} 2", "x{a} 2", "x nonsense", "x{a=\"1\" 2"] {
            assert_eq!(Sample::read(line), None, "{line}");
        }
    }
}
