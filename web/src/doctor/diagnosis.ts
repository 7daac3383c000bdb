/** What the doctor says of an answer of the server: pure. */
import type { Advice, Health, HealthState, Reason } from '../dash/types';

export interface Status {
  name: string;
  at: number;
  health: Health;
  headline: string;
  advice: Advice[];
  protocol: string | null;
  encoder: string;
  codecs: string[];
  viewers: number;
  score: number | null;
  live_since: number | null;
  series: { start: number; step: number; columns: Record<string, (number | null)[]> };
}

export type Tone = 'good' | 'warn' | 'bad' | 'off';

const TONES: Record<HealthState, Tone> = {
  live: 'good',
  degraded: 'warn',
  starting: 'warn',
  stalled: 'bad',
  reconnecting: 'bad',
  offline: 'off',
  ended: 'off',
};

/** Advice about what may be as it is meant to be: a slide stands still. Worth a look, and nothing to change. */
const HINTS = ['frozen-picture'];

function toChange(status: Status): number {
  return status.advice.filter(({ advice }) => !HINTS.includes(advice)).length;
}

export function tone(status: Status): Tone {
  const state = TONES[status.health.state] ?? 'off';
  return state === 'good' && toChange(status) > 0 ? 'warn' : state;
}

/** Reasons whose advice says the same, and what to do. */
const TWINS: Record<string, string[]> = {
  keyframes: ['keyframe-interval', 'no-keyframes', 'passthrough-keyframes'],
  'low-fps': ['low-frame-rate'],
  bitrate: ['bitrate-collapse'],
  'missing-frames': ['missing-frames'],
  'av-skew': ['audio-offset'],
  'round-trip': ['long-round-trip'],
  'uplink-stalls': ['uplink-stalls'],
  black: ['black-picture'],
  frozen: ['frozen-picture'],
  silent: ['silence'],
  jitter: ['uneven-arrival'],
  'clock-drift': ['clock-drift'],
  backward: ['timestamps-back'],
  loss: ['packet-loss'],
};

/** Reasons that neither the headline nor a piece of advice has said yet. */
export function unsaid(status: Status): Reason[] {
  const said = headline(status);
  const advised = (reason: string) => status.advice.some(({ advice }) => TWINS[reason]?.includes(advice));
  return status.health.reasons.filter(({ reason, severity, text }) => severity !== 'info' && text !== said && !advised(reason));
}

/** One sentence over all: where advice follows, how much of it. */
export function headline(status: Status): string {
  const { state } = status.health;
  const n = toChange(status);
  if (n === 0 || (state !== 'live' && state !== 'degraded')) return status.headline;
  return n === 1 ? 'One thing to change' : `${n} things to change`;
}

/** The newest value of a column, where one came within the last five seconds. */
export function newest(status: Status, column: string): number | null {
  const values = status.series.columns[column] ?? [];
  for (const value of values.slice(-5).reverse()) if (value !== null) return value;
  return null;
}

/** Advice that was there a moment ago and is not any more: said once, as it is what the streamer waits for. */
export function cured(before: Advice[], after: Advice[]): Advice[] {
  return before.filter((old) => !after.some((advice) => advice.advice === old.advice));
}

/** The stream that the page's address names. */
export function named(path: string): string | null {
  const found = /^\/doctor\/([\w.-]+)\/([\w.-]+)\/?$/.exec(path);
  return found ? `${found[1]}/${found[2]}` : null;
}

/** The key behind `#key=`, as it was pasted. */
export function keyOf(hash: string): string {
  const found = /^#key=(.*)$/.exec(hash);
  if (!found) return '';
  try {
    return decodeURIComponent(found[1]!);
  } catch {
    return found[1]!;
  }
}
