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
/** As many answers in a row that there is no such stream end the playing. */
const ABSENT_IS_GONE = 2;

export class Source {
  readonly url: string;

  constructor(
    name: StreamName,
    private readonly clock: ServerClock,
  ) {
    this.url = new URL(playlistPath(name), location.origin).href;
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
    const headers: HeadersInit = etag ? { 'If-None-Match': etag } : {};
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
      const delay = failures > 0 ? Math.min(SOON * 2 ** (failures - 1), UNREACHABLE_MAX) : SOON;
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
