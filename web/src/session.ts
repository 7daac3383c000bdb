/** The life of the page: wait until the stream is live, play it, and begin again when it ends, changes or fails. */
import { ServerClock } from './clock';
import { Meter } from './meter';
import { NativePlayback, playsNatively } from './native';
import { Playback, hasMediaSource, type Failure, type Level } from './playback';
import { sleep, Source, type Live, type Look } from './source';
import type { StreamName } from './stream';
import { Viewing } from './viewing';
import * as words from './words';

/** How one attachment came to its end. */
type Outcome = { is: 'ended' } | { is: 'gone' } | { is: 'changed'; to: Live } | { is: 'failed'; failure: Failure };

/** What the page shows of a session. */
export interface Face {
  say(message: words.Message | null): void;
  levels(levels: Level[]): void;
  /** Anything that is shown may have changed. */
  changed(): void;
}

/** A server that has not said by then (milliseconds) that the stream is live holds the request until it is. */
const WAITS_AFTER = 800;
/** Delays before another try (milliseconds); the first is free when it had played well until then. */
const RETRY = [0, 1000, 2000, 4000, 8000];
const UNSUPPORTED_RETRY = 15_000;
/** An attachment that played this long (milliseconds) was a good one. */
const PLAYED_WELL = 10_000;

export class Session {
  readonly clock = new ServerClock();
  readonly meter = new Meter();
  readonly viewing: Viewing;
  playback: Playback | NativePlayback | undefined;
  /** From the server's word that the stream is live to the first picture (milliseconds). */
  liveToPictureMillis: number | null = null;
  readonly errors: string[] = [];
  /** What went wrong and was mended without a new start, and how often. */
  readonly mended = new Map<string, number>();
  private readonly source: Source;
  private liveSince = 0;
  private stuck: (() => void) | undefined;

  constructor(
    private readonly video: HTMLVideoElement,
    name: StreamName,
    private readonly face: Face,
  ) {
    this.source = new Source(name, this.clock);
    this.viewing = new Viewing(video, this.meter, () => this.noticed(), () => this.stuck?.());
  }

  /** Never returns but by its signal. */
  async run(signal: AbortSignal): Promise<void> {
    let ended: string | null = null;
    let tries = 0;
    let next: Live | undefined;
    this.face.say(words.OPENING);
    for (;;) {
      const live: Live = next ?? (await this.untilLive(signal, ended));
      next = undefined;
      ended = null;
      const began = performance.now();
      const outcome = await this.play(live, signal);
      if (performance.now() - began > PLAYED_WELL) tries = 0;
      if (outcome.is === 'ended') ended = live.text;
      if (outcome.is === 'changed') next = outcome.to;
      if (outcome.is === 'ended') this.face.say(words.ENDED);
      if (outcome.is === 'failed') await this.pause(outcome.failure, tries++, signal);
    }
  }

  /** The server that it plays from. */
  get origin(): string {
    return this.source.origin;
  }

  /** Seconds between capture and screen, by the server's clock; null while unknown. */
  latency(): number | null {
    const shown = this.playback?.shownDate ?? null;
    return shown === null ? null : (Date.now() + this.clock.offset - shown) / 1000;
  }

  private async untilLive(signal: AbortSignal, ended: string | null): Promise<Live> {
    const say = (look: Look) => this.face.say(words.whileWaiting(look, ended !== null));
    const held = setTimeout(() => say({ is: 'absent' }), WAITS_AFTER);
    try {
      return await this.source.untilLive(signal, ended, (look) => {
        clearTimeout(held);
        say(look);
      });
    } finally {
      clearTimeout(held);
    }
  }

  private async pause(failure: Failure, tries: number, signal: AbortSignal): Promise<void> {
    this.errors.push(failure.detail);
    const unsupported = failure.is === 'unsupported';
    const delay = unsupported ? UNSUPPORTED_RETRY : RETRY[Math.min(tries, RETRY.length - 1)]!;
    if (delay > 0) this.face.say(words.failure(failure));
    await sleep(delay, signal);
  }

  private async play(live: Live, signal: AbortSignal): Promise<Outcome> {
    this.liveSince = performance.now();
    const stop = new AbortController();
    const over = () => stop.abort(signal.reason);
    signal.addEventListener('abort', over, { once: true });
    const changed = this.source
      .untilChanged(stop.signal, live, () => this.meter.stalled)
      .then((to): Outcome => (to ? { is: 'changed', to } : { is: 'gone' }));
    try {
      return await Promise.race([this.attach(live), changed]);
    } finally {
      changed.catch(() => undefined);
      stop.abort();
      signal.removeEventListener('abort', over);
      this.detach();
    }
  }

  private attach(live: Live): Promise<Outcome> {
    return new Promise((resolve) => {
      const listener = {
        levels: (levels: Level[]) => this.face.levels(levels),
        appended: () => this.viewing.look(),
        ended: () => resolve({ is: 'ended' }),
        failed: (failure: Failure) => resolve({ is: 'failed', failure }),
        places: (hosts: string[]) => this.source.tell(hosts),
        from: (origin: string) => this.source.follow(origin),
        mended: (detail: string) => void this.mended.set(detail, (this.mended.get(detail) ?? 0) + 1),
      };
      this.stuck = () => listener.failed({ is: 'media', detail: 'stuck although new media is listed' });
      const { video } = this;
      if (hasMediaSource()) this.playback = new Playback(video, this.source.url, live.text, this.clock, listener);
      else if (playsNatively(video)) this.playback = new NativePlayback(video, this.source.url, listener);
      else return resolve({ is: 'failed', failure: { is: 'unsupported', detail: 'no Media Source Extensions' } });
      this.viewing.attach(this.playback);
      this.start();
    });
  }

  /** Plays with sound if the browser lets us, without if it does not, and asks for a tap if even that is refused. */
  private start(): void {
    const { video, face } = this;
    video.play().catch(() => {
      if (video.paused && !video.muted) {
        video.muted = true;
        video.play().catch(() => face.say(words.TAP));
      } else if (video.paused && this.playback) face.say(words.TAP);
    });
  }

  private detach(): void {
    this.stuck = undefined;
    this.viewing.detach();
    this.playback?.close();
    this.playback = undefined;
    this.face.changed();
  }

  private noticed(): void {
    if (this.meter.firstPictureMillis !== null) this.liveToPictureMillis ??= performance.now() - this.liveSince;
    this.face.changed();
  }
}
