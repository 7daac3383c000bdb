/** Figures as people read them. What is not known is a dash. */

export const UNKNOWN = '–';

type Maybe = number | null | undefined;
const known = (value: Maybe): value is number => typeof value === 'number' && Number.isFinite(value);

/** Up to three digits that count: 5.61, 56.1, 561. */
export function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** Bits a second. */
export function bitrate(bits: Maybe): string {
  if (!known(bits)) return UNKNOWN;
  if (bits >= 1e9) return `${digits(bits / 1e9)} Gbit/s`;
  if (bits >= 1e6) return `${digits(bits / 1e6)} Mbit/s`;
  return `${Math.round(bits / 1e3)} kbit/s`;
}

/** How many, with thousands set apart. */
export function count(value: Maybe): string {
  return known(value) ? Math.round(value).toLocaleString('en-US').replaceAll(',', '\u202f') : UNKNOWN;
}

/** Seconds, as milliseconds below a tenth. */
export function seconds(value: Maybe): string {
  if (!known(value)) return UNKNOWN;
  return Math.abs(value) < 0.0995 ? millis(value) : `${value.toFixed(Math.abs(value) < 9.95 ? 2 : 1)} s`;
}

/** Seconds, shown as milliseconds. */
export function millis(value: Maybe): string {
  if (!known(value)) return UNKNOWN;
  const shown = value * 1000;
  return `${Math.abs(shown) < 9.95 && shown !== 0 ? shown.toFixed(1) : Math.round(shown)} ms`;
}

/** A ratio from 0 to 1 as a share of a hundred. */
export function percent(ratio: Maybe): string {
  if (!known(ratio)) return UNKNOWN;
  const share = ratio * 100;
  return `${share !== 0 && Math.abs(share) < 9.95 ? share.toFixed(1) : Math.round(share)} %`;
}

export function plain(value: Maybe, places = 1): string {
  return known(value) ? value.toFixed(places) : UNKNOWN;
}

/** A span in its two largest units: 4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function span(secs: number): string {
  const s = Math.max(0, Math.round(secs));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 && s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  const minutes = Math.floor(s / 60);
  if (minutes < 1440) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  const hours = Math.floor(minutes / 60);
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

/** How long ago something was, in its largest unit. */
export function ago(at: number, now: number): string {
  const past = now - at;
  if (past < 1500) return 'now';
  const units: [number, string][] = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1_000, 's']];
  const [size, unit] = units.find(([size]) => past >= size) ?? [1_000, 's'];
  return `${Math.floor(past / size)} ${unit} ago`;
}

/** Bits a second, short enough for an axis. */
export function axisBitrate(bits: Maybe): string {
  if (!known(bits)) return UNKNOWN;
  return bits >= 1e6 ? `${Number((bits / 1e6).toFixed(2))} M` : `${Math.round(bits / 1e3)} k`;
}

export function clock(at: number): string {
  return new Date(at).toLocaleTimeString('en-GB');
}

/** 1 stream, 2 streams. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`;
}
