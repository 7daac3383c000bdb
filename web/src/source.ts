/** Asks for a stream's multivariant playlist: waits until it is live, then notices when it changes. */
import type { ServerClock } from './clock';
import { playlistPath, shape, type StreamName } from './stream';

/** What one look at the playlist found. */
export type Look =
  | { is: 'live'; text: string; etag: string | null }
  | { is: 'unchanged' }
  | { is: 'absent' }
  | { is: 'refused'; status: number }
  | { is: 'unreachable' };

declare global {
  interface Window {
    /** The page's first request, sent before this script had arrived (see watch.html). */
    aqueductAsked?: { sent: number; answer: Promise<Response> };
  }
}

export type Live = Look & { is: 'live' };

const SOON = 1000;
const UNREACHABLE_MAX = 8000;
/** How often the playlist is looked at while it plays; the answer is a 304 without a body. */
const LOOK_EVERY = 5000;
const LOOK_EVERY_HURRIED = 1000;
/** Servers that are remembered. */
const MOST_PLACES = 16;
/** As many answers in a row that there is no such stream end the playing. */
const ABSENT_IS_GONE = 2;

export class Source {
  /** Servers that have the stream, as far as is known: the page's own and those that steering named. */
  private readonly places: string[] = [location.origin];
  private place = location.origin;

  constructor(
    private readonly name: StreamName,
    private readonly clock: ServerClock,
  ) {}

  /** The server that is asked now. */
  get origin(): string {
    return this.place;
  }

  /** The multivariant playlist, at the server that is asked now. */
  get url(): string {
    return new URL(playlistPath(this.name), this.place).href;
  }

  /** The stream can be had from these hosts as well, at the same port. */
  tell(hosts: string[]): void {
    for (const host of hosts) {
      const url = new URL(this.place);
      url.hostname = host;
      if (!this.places.includes(url.origin) && this.places.length < MOST_PLACES) this.places.push(url.origin);
    }
  }

  /** It plays from this server, so that one is asked from now on. */
  follow(origin: string): void {
    this.place = origin;
  }

  /** The server that is asked has it no more: the next one is asked. */
  private moveOn(): void {
    const next = (this.places.indexOf(this.place) + 1) % this.places.length;
    this.place = this.places[next]!;
  }

  /** One request. With `hold` the server answers as soon as the stream is live, or says no after some seconds. */
  async look(signal: AbortSignal, hold: boolean, etag: string | null = null): Promise<Look> {
    try {
      const { sent, answer: coming } = this.ask(signal, hold, etag);
      const answer = await coming;
      const age = Number(answer.headers.get('Age') ?? 0) || 0;
      this.clock.observe(Date.parse(answer.headers.get('Date') ?? ''), age, sent, Date.now());
      if (answer.status === 304) return { is: 'unchanged' };
      if (answer.status === 404 || answer.status === 503) return { is: 'absent' };
      if (!answer.ok) return { is: 'refused', status: answer.status };
      return { is: 'live', text: await answer.text(), etag: answer.headers.get('ETag') };
    } catch (error) {
      if (signal.aborted) throw error;
      return { is: 'unreachable' };
    }
  }

  private ask(signal: AbortSignal, hold: boolean, etag: string | null): { sent: number; answer: Promise<Response> } {
    const asked = window.aqueductAsked;
    delete window.aqueductAsked;
    if (asked && hold) return asked;
    // Elsewhere it would take a question of its own whether the header is allowed.
    const headers: HeadersInit = etag && this.place === location.origin ? { 'If-None-Match': etag } : {};
    const url = hold ? `${this.url}?_AQ_hold=1` : this.url;
    return { sent: Date.now(), answer: fetch(url, { signal, cache: 'no-store', headers }) };
  }

  /**
   * Resolves when the stream is live and is not `ended`, the playlist that has come to its end.
   * `told` hears each look that found nothing, so that the page can say why it waits.
   */
  async untilLive(signal: AbortSignal, ended: string | null, told: (look: Look) => void): Promise<Live> {
    let failures = 0;
    for (;;) {
      const began = Date.now();
      const look = await this.look(signal, true);
      if (look.is === 'live' && !(ended !== null && shape(look.text) === shape(ended))) return look;
      told(look);
      failures = look.is === 'unreachable' ? failures + 1 : 0;
      this.moveOn();
      // Every server is tried before any is waited for.
      const rounds = Math.floor(failures / this.places.length);
      const delay = failures === 0 ? SOON : rounds === 0 ? 0 : Math.min(SOON * 2 ** (rounds - 1), UNREACHABLE_MAX);
      // A held answer has waited already; one that came at once (an older server, a proxy) must not be hammered.
      const waited = Date.now() - began;
      await sleep(waited > 3000 && failures === 0 ? 0 : delay, signal);
    }
  }

  /**
   * Watches the playlist while it plays. Resolves with the new one when its renditions are no longer those of
   * `playing`, and with null when it is gone. While `hurried` it looks more often.
   */
  async untilChanged(signal: AbortSignal, playing: { text: string; etag: string | null }, hurried: () => boolean): Promise<Live | null> {
    let { etag } = playing;
    let absent = 0;
    let lookedAt = Date.now();
    for (;;) {
      await sleep(LOOK_EVERY_HURRIED, signal);
      if (!hurried() && Date.now() - lookedAt < LOOK_EVERY) continue;
      lookedAt = Date.now();
      const look = await this.look(signal, false, etag);
      absent = look.is === 'absent' ? absent + 1 : 0;
      if (absent >= ABSENT_IS_GONE) return null;
      if (look.is !== 'live') continue;
      if (shape(look.text) !== shape(playing.text)) return look;
      etag = look.etag;
    }
  }
}

/** Rejects with the signal's reason when it is aborted. */
export function sleep(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, millis);
    signal.addEventListener('abort', stop, { once: true });
  });
}
