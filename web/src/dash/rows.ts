/** The list of streams as the live stream tells it: pure, so that it can be tested without a page. */
import type { HealthState, Row, Stream } from './types';

/** Seconds that a row's sparkline shows. */
export const SPARK = 120;

export type Cell = string | number | null;

/** What a row is when its columns come in this order; unknown columns are passed over. */
export function rowOf(columns: string[], cells: Cell[]): Row | null {
  const at = (name: string): Cell => cells[columns.indexOf(name)] ?? null;
  const number = (name: string) => (typeof at(name) === 'number' ? (at(name) as number) : null);
  const name = at('name');
  if (typeof name !== 'string') return null;
  return {
    name,
    health: (at('health') as HealthState | null) ?? 'offline',
    score: number('score'),
    viewers: number('viewers') ?? 0,
    bitrate: number('bitrate') ?? 0,
    fps: number('fps'),
    latency: number('latency'),
    rebuffer: number('rebuffer'),
    advice: number('advice') ?? 0,
    alerts: number('alerts') ?? 0,
    since: number('since'),
    reason: String(at('reason') ?? ''),
  };
}

/** The same from a stream's whole object, for when there is no live stream to hear. */
export function rowOfStream(stream: Stream): Row {
  const fallback: HealthState = stream.state;
  return {
    name: stream.name,
    health: stream.health?.state ?? fallback,
    score: stream.score?.value ?? null,
    viewers: stream.viewers,
    bitrate: stream.bitrate,
    fps: stream.ingest?.video_frames ?? null,
    latency: stream.qoe?.latency.p50 ?? stream.latency?.total ?? null,
    rebuffer: stream.qoe?.rebuffer_ratio ?? null,
    advice: stream.advice.length,
    alerts: 0,
    since: stream.live_since ?? null,
    reason: stream.health?.reasons[0]?.text ?? '',
  };
}

/** How much a state asks for an operator's eyes: the larger the sooner. */
const RANK: Record<HealthState, number> = {
  stalled: 6,
  reconnecting: 5,
  degraded: 4,
  starting: 2,
  live: 1,
  offline: 0,
  ended: 0,
};

export function suffers(row: Row): boolean {
  return RANK[row.health] >= 4 || row.alerts > 0;
}

export type SortKey = 'trouble' | 'name' | 'viewers' | 'score' | 'latency' | 'rebuffer' | 'bitrate';

const order: Record<SortKey, (a: Row, b: Row) => number> = {
  trouble: (a, b) => {
    const alarm = (row: Row) => RANK[row.health] * 10 + Math.min(row.alerts, 9) + (row.advice > 0 ? 0.5 : 0);
    return alarm(b) - alarm(a) || b.viewers - a.viewers;
  },
  name: () => 0,
  viewers: (a, b) => b.viewers - a.viewers,
  score: (a, b) => (a.score ?? 101) - (b.score ?? 101),
  latency: (a, b) => (b.latency ?? -1) - (a.latency ?? -1),
  rebuffer: (a, b) => (b.rebuffer ?? -1) - (a.rebuffer ?? -1),
  bitrate: (a, b) => b.bitrate - a.bitrate,
};

/** Rows whose name holds the words, in order; equal ones by name, so that lines do not jump. */
export function arrange(rows: Iterable<Row>, words: string, key: SortKey, only: 'all' | 'suffering'): Row[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row: Row) =>
    (only === 'all' || suffers(row)) && wanted.every((word) => row.name.toLowerCase().includes(word));
  return [...rows].filter(fits).sort((a, b) => order[key](a, b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** The rows of `next` in the order of `before`, new ones last: lists do not jump below somebody's pointer. */
export function inOrderOf(before: Row[], next: Row[]): Row[] {
  const places = new Map(before.map((row, i) => [row.name, i]));
  const place = (row: Row) => places.get(row.name) ?? Infinity;
  return [...next].sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
}

/** The last seconds of a figure of each stream, for sparklines. */
export class Sparks {
  readonly #rings = new Map<string, (number | null)[]>();

  /** One second has passed: each row's figure goes in; those that are gone go out. */
  tick(rows: Map<string, Row>): void {
    for (const name of this.#rings.keys()) if (!rows.has(name)) this.#rings.delete(name);
    for (const [name, row] of rows) {
      const ring = this.#rings.get(name) ?? [];
      ring.push(row.health === 'ended' || row.health === 'offline' ? null : row.bitrate);
      if (ring.length > SPARK) ring.splice(0, ring.length - SPARK);
      this.#rings.set(name, ring);
    }
  }

  /** What was before this page was opened. */
  fill(name: string, values: (number | null)[]): void {
    const ring = this.#rings.get(name) ?? [];
    const missing = SPARK - ring.length;
    if (missing > 0) this.#rings.set(name, [...values.slice(-missing - ring.length, values.length - ring.length), ...ring]);
  }

  of(name: string): (number | null)[] {
    return this.#rings.get(name) ?? [];
  }
}
