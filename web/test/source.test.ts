import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ServerClock } from '../src/clock';
import { Source, type Look } from '../src/source';

const LIST = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ne1/v0/media.m3u8\n';
const NEXT = LIST.replace('e1', 'e2');

type Answer = { status: number; body?: string; etag?: string } | 'unreachable';

/** A server that gives these answers in turn, the last one for ever. */
function server(answers: Answer[]) {
  const asked: { url: string; etag: string | null; at: number }[] = [];
  const fetch = (url: string, init: { headers: Record<string, string> }) => {
    asked.push({ url, etag: init.headers['If-None-Match'] ?? null, at: Date.now() });
    const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
    if (answer === 'unreachable') return Promise.reject(new TypeError('refused'));
    const body = answer.status === 304 ? null : (answer.body ?? '');
    return Promise.resolve(new Response(body, { status: answer.status, headers: answer.etag ? { ETag: answer.etag } : {} }));
  };
  vi.stubGlobal('fetch', fetch);
  return asked;
}

const source = () => new Source({ app: 'live', name: 'show' }, new ServerClock());
const signal = () => new AbortController().signal;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('window', {});
  vi.stubGlobal('location', { origin: 'http://host' });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('waiting for a stream', () => {
  it('asks with a hold until the stream is live', async () => {
    const asked = server([{ status: 404 }, { status: 404 }, { status: 200, body: LIST, etag: '"1"' }]);
    const told: Look['is'][] = [];
    const live = source().untilLive(signal(), null, (look) => told.push(look.is));
    await vi.advanceTimersByTimeAsync(5000);
    expect(await live).toEqual({ is: 'live', text: LIST, etag: '"1"' });
    expect(told).toEqual(['absent', 'absent']);
    expect(asked.every(({ url }) => url === 'http://host/live/show/index.m3u8?_AQ_hold=1')).toBe(true);
  });

  it('asks every server that steering named before it waits', async () => {
    const asked = server(['unreachable', 'unreachable', { status: 200, body: LIST }]);
    const stream = source();
    stream.tell(['other', 'third', 'other']);
    const live = stream.untilLive(signal(), null, () => undefined);
    await vi.advanceTimersByTimeAsync(100);
    expect((await live).text).toBe(LIST);
    expect(asked.map(({ url }) => new URL(url).host)).toEqual(['host', 'other', 'third']);
    // From then on that one is asked, and where it plays from later.
    expect(new URL(stream.url).host).toBe('third');
    stream.follow('http://other');
    expect(new URL(stream.url).host).toBe('other');
  });

  it('does not hammer a server that answers at once', async () => {
    const asked = server([{ status: 404 }]);
    void source().untilLive(signal(), null, () => undefined);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked.length).toBeLessThanOrEqual(11);
  });

  it('backs off from a server that cannot be reached', async () => {
    const asked = server(['unreachable']);
    void source().untilLive(signal(), null, () => undefined);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBeLessThanOrEqual(11);
    expect(asked.length).toBeGreaterThan(5);
  });

  it('does not take the list that has ended for a new stream', async () => {
    server([{ status: 200, body: LIST }, { status: 200, body: LIST }, { status: 200, body: NEXT }]);
    const live = source().untilLive(signal(), LIST, () => undefined);
    await vi.advanceTimersByTimeAsync(5000);
    expect((await live).text).toBe(NEXT);
  });

  it('takes over the request that the page sent before', async () => {
    const asked = server([{ status: 404 }]);
    vi.stubGlobal('window', { aqueductAsked: { sent: 0, answer: Promise.resolve(new Response(LIST)) } });
    expect((await source().untilLive(signal(), null, () => undefined)).text).toBe(LIST);
    expect(asked).toEqual([]);
  });
});

describe('watching for a change', () => {
  const playing = { text: LIST, etag: '"1"' };

  it('asks with the tag, and rarely', async () => {
    const asked = server([{ status: 304 }]);
    void source().untilChanged(signal(), playing, () => false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBe(12);
    expect(asked[0]!.etag).toBe('"1"');
  });

  it('ends with the new list when renditions change, not when rates do', async () => {
    const rates = LIST.replace('=1', '=2');
    server([{ status: 200, body: rates, etag: '"2"' }, { status: 200, body: NEXT, etag: '"3"' }]);
    const changed = source().untilChanged(signal(), playing, () => false);
    await vi.advanceTimersByTimeAsync(11_000);
    expect(await changed).toMatchObject({ text: NEXT, etag: '"3"' });
  });

  it('notices soon in a stall that the stream is gone', async () => {
    server([{ status: 404 }]);
    const gone = source().untilChanged(signal(), playing, () => true);
    await vi.advanceTimersByTimeAsync(2100);
    expect(await gone).toBeNull();
  });

  it('bears one odd answer and an unreachable server', async () => {
    const asked = server([{ status: 404 }, { status: 304 }, 'unreachable', 'unreachable', { status: 404 }, { status: 304 }]);
    let over = false;
    void source().untilChanged(signal(), playing, () => true).then(() => (over = true));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(over).toBe(false);
    expect(asked.length).toBe(10);
  });
});
