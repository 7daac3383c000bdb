/** A stream's seconds: what was fetched, and what came live since. Pure. */
import type { Series } from './types';

export class Seconds {
  /** Seconds since 1970 of each value, oldest first. */
  times: number[] = [];
  columns: Record<string, (number | null)[]> = {};
  readonly #most: number;

  constructor(most = 900) {
    this.#most = most;
  }

  /** Takes what was fetched; seconds that came live and are newer are kept. */
  load(series: Series): void {
    const names = Object.keys(series.columns);
    const count = series.count ?? Math.max(0, ...names.map((name) => series.columns[name]!.length));
    const end = series.start + count * series.step;
    const newer = this.times.map((time, i) => ({ time, i })).filter(({ time }) => time >= end);
    const old = this.columns;
    this.times = [...Array.from({ length: count }, (_, i) => series.start + i * series.step), ...newer.map(({ time }) => time)];
    this.columns = {};
    for (const name of new Set([...names, ...Object.keys(old)])) {
      const fetched = series.columns[name] ?? Array.from({ length: count }, () => null);
      this.columns[name] = [...fetched, ...newer.map(({ i }) => old[name]?.[i] ?? null)];
    }
    this.#trim();
  }

  /** Adds seconds that were fetched to those that are there. */
  add(series: Series): void {
    const names = Object.keys(series.columns);
    const count = series.count ?? Math.max(0, ...names.map((name) => series.columns[name]!.length));
    for (let i = 0; i < count; i += 1) {
      this.push(series.start + i * series.step, names, names.map((name) => series.columns[name]![i] ?? null));
    }
  }

  /** One more second, in the order of `names`. One that is there already is replaced; an older one is let go. */
  push(at: number, names: string[], values: (number | null)[]): void {
    const last = this.times.at(-1);
    if (last !== undefined && at < last) return;
    if (last === at) {
      names.forEach((name, i) => (this.#column(name)[this.times.length - 1] = values[i] ?? null));
      return;
    }
    this.times.push(at);
    names.forEach((name, i) => (this.#column(name)[this.times.length - 1] = values[i] ?? null));
    for (const column of Object.values(this.columns)) {
      while (column.length < this.times.length) column.push(null);
    }
    this.#trim();
  }

  #column(name: string): (number | null)[] {
    const fresh = () => Array.from({ length: this.times.length }, () => null);
    return (this.columns[name] ??= fresh());
  }

  #trim(): void {
    const extra = this.times.length - this.#most;
    if (extra <= 0) return;
    this.times.splice(0, extra);
    for (const column of Object.values(this.columns)) column.splice(0, extra);
  }

  of(name: string): (number | null)[] {
    return this.columns[name] ?? this.times.map(() => null);
  }

  /** The newest value that is known, at most `within` seconds old. */
  latest(name: string, within = 5): number | null {
    const column = this.columns[name];
    for (let i = this.times.length - 1; column && i >= Math.max(0, this.times.length - within); i -= 1) {
      const value = column[i];
      if (value !== null && value !== undefined) return value;
    }
    return null;
  }
}
