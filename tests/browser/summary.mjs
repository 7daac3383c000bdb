// Numbers about numbers.

/** The value below which `share` (0 to 1) of the values lie; null without values. */
export function percentile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const rounded = (value) => (value === null ? null : Math.round(value * 1000) / 1000);

/**
 * Describes a series of `{ at, value }` (`at` in milliseconds): its middle, its tail, and the middles of its first
 * and last minute, which differ if it grows.
 */
export function describe(series) {
  const values = series.map(({ value }) => value);
  const first = series.length > 0 ? series[0].at : 0;
  const last = series.length > 0 ? series[series.length - 1].at : 0;
  const middle = (entries) => rounded(percentile(entries.map(({ value }) => value), 0.5));
  return {
    samples: values.length,
    p50: rounded(percentile(values, 0.5)),
    p95: rounded(percentile(values, 0.95)),
    min: rounded(percentile(values, 0)),
    max: rounded(percentile(values, 1)),
    firstMinute: middle(series.filter(({ at }) => at <= first + 60_000)),
    lastMinute: middle(series.filter(({ at }) => at >= last - 60_000)),
  };
}
