/**
 * Tells the server how it goes (spec QOE-12, QOE-13): counters since the session began, so that a lost beacon does not
 * hurt. No cookie is set, and nothing of the viewer is told but what the player lives through.
 */
import type { Session } from './session';
import type { StreamName } from './stream';

/** What one look at the player sees. */
export interface Look {
  /** Milliseconds. */
  now: number;
  /** A picture has been shown, and playing is meant. */
  playing: boolean;
  /** Stalled, of those that are meant to play. */
  stalled: boolean;
  /** Stalls, and milliseconds of them, as the page itself counts. */
  stalls: number;
  stallMillis: number;
  /** Bits a second on screen; null while unknown. */
  bitrate: number | null;
  /** Milliseconds from capture to screen; null while unknown. */
  latency: number | null;
}

/** Sums since the session began. Pure. */
export class Account {
  play = 0;
  stalls = 0;
  stallMillis = 0;
  up = 0;
  down = 0;
  /** Kilobits a second times milliseconds. */
  bitrate = 0;
  /** Milliseconds times milliseconds, and the milliseconds in which it was known. */
  latency = 0;
  latencyKnown = 0;
  private last: Look | undefined;
  private before: number | null = null;

  /** Time since the last look goes to what was seen then. A machine that slept has not played. */
  look(look: Look): void {
    const { last } = this;
    const passed = last ? Math.min(look.now - last.now, Account.ASLEEP) : 0;
    if (last?.playing && !last.stalled && passed > 0) {
      this.play += passed;
      if (last.bitrate !== null) this.bitrate += (last.bitrate / 1000) * passed;
      if (last.latency !== null && last.latency >= 0) {
        this.latency += last.latency * passed;
        this.latencyKnown += passed;
      }
    }
    this.stalls = look.stalls;
    this.stallMillis = look.stallMillis;
    if (look.playing && look.bitrate !== null) {
      if (this.before !== null && look.bitrate > this.before) this.up += 1;
      if (this.before !== null && look.bitrate < this.before) this.down += 1;
      this.before = look.bitrate;
    }
    this.last = look;
  }

  private static readonly ASLEEP = 5000;
}

/** How often the player is looked at, and how often it is told, at least (milliseconds). */
const EVERY = 250;
const FIRST_MINUTE = 10_000;
const LATER = 30_000;
/** Beacons about stalls come no closer together (milliseconds). */
const APART = 1000;

export class Beacon {
  private readonly account = new Account();
  private readonly sid = random();
  private readonly path: string;
  private readonly began = performance.now();
  private seq = 0;
  private sent = -Infinity;
  private told = '';
  private toldTo = '';
  private startup: number | null = null;

  constructor(
    private readonly session: Session,
    private readonly video: HTMLVideoElement,
    { app, name, ticket }: StreamName,
  ) {
    this.path = `${ticket === undefined ? '' : `/t/${ticket}`}/${app}/${name}/beacon`;
    setInterval(() => this.look(), EVERY);
    addEventListener('pagehide', () => this.send('left'));
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') this.send(this.state());
    });
  }

  private state(): string {
    const { session, video } = this;
    if (session.meter.firstPictureMillis === null) return 'starting';
    if (!session.playback) return 'waiting';
    if (video.paused) return 'paused';
    return session.meter.stalled ? 'stalled' : 'playing';
  }

  private look(): void {
    const { session, video } = this;
    const now = performance.now();
    const { meter } = session;
    const latency = session.latency();
    this.account.look({
      now,
      playing: meter.picturing && !video.paused && !video.seeking && document.visibilityState === 'visible',
      stalled: meter.stalled,
      stalls: meter.stalls,
      stallMillis: meter.stallSeconds(now) * 1000,
      bitrate: this.bitrate(),
      latency: latency === null ? null : latency * 1000,
    });
    this.startup ??= this.started();
    const state = this.state();
    // Nobody is there to hear of a stream that has not begun.
    if (!session.playback && this.seq === 0) return;
    const rhythm = now - this.began < 60_000 ? FIRST_MINUTE : LATER;
    const due = now - this.sent >= rhythm;
    // A server that is left goes on counting who has left it, unless it is told where to.
    const news = (state !== this.told || session.origin !== this.toldTo) && now - this.sent >= APART;
    if (due || news) this.send(state);
  }

  /** From the wish to watch to the first picture. Waiting for a stream that is not there yet is no part of it. */
  private started(): number | null {
    const { meter, liveToPictureMillis } = this.session;
    if (meter.firstPictureMillis === null) return null;
    const waited = meter.firstPictureMillis - (liveToPictureMillis ?? 0);
    return waited > WAITED && liveToPictureMillis !== null ? liveToPictureMillis : meter.firstPictureMillis;
  }

  private bitrate(): number | null {
    const { playback } = this.session;
    if (!playback) return null;
    return playback.levels().find(({ index }) => index === playback.level)?.bitrate ?? null;
  }

  private send(state: string): void {
    const { account, session, video } = this;
    const now = performance.now();
    const frames = video.getVideoPlaybackQuality();
    const latency = session.latency();
    const bitrate = this.bitrate();
    this.seq += 1;
    this.sent = now;
    this.told = state;
    this.toldTo = session.origin;
    const url = new URL(this.path, session.origin).href;
    const text = JSON.stringify({
      v: 1,
      sid: this.sid,
      seq: this.seq,
      t_client: Date.now(),
      state,
      startup_ms: this.startup,
      cum: {
        play_ms: Math.round(account.play),
        stall_ms: Math.round(account.stallMillis),
        stalls: account.stalls,
        up: account.up,
        down: account.down,
        dropped: frames.droppedVideoFrames,
        frames: frames.totalVideoFrames,
        bitrate_ms: Math.round(account.bitrate),
        latency_ms: Math.round(account.latency),
        latency_known_ms: Math.round(account.latencyKnown),
      },
      now: {
        height: video.videoHeight || null,
        kbps: bitrate === null ? null : bitrate / 1000,
        latency_ms: latency === null || latency < 0 ? null : Math.round(latency * 1000),
        buffer_ms: Math.max(0, Math.round(session.viewing.ahead * 1000)),
      },
    });
    // A page that is left has no time for an answer; neither is one needed.
    const body = new Blob([text], { type: 'text/plain' });
    if (!navigator.sendBeacon?.(url, body)) {
      void fetch(url, { method: 'POST', body, keepalive: true, credentials: 'omit' }).catch(() => undefined);
    }
  }
}

/** A page that was open for longer before the stream came on air has waited for it (milliseconds). */
const WAITED = 3000;

/** A name for this playback alone. `randomUUID` is missing on pages without TLS. */
function random(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
