import { describe, expect, test } from 'vitest';
import { ago, axisBitrate, bitrate, millis, percent, seconds, span } from '../src/dash/format';
import { SPARK, Sparks, arrange, inOrderOf, rowOf, rowOfStream, suffers } from '../src/dash/rows';
import { groupSuffers, pooled } from '../src/dash/groups';
import { read } from '../src/dash/route';
import { Seconds } from '../src/dash/series';
import type { Row, Session, Stream } from '../src/dash/types';
import { type Status, cured, headline, keyOf, named, newest, tone, unsaid } from '../src/doctor/diagnosis';

const row = (name: string, more: Partial<Row> = {}): Row => ({
  name, health: 'live', score: 90, viewers: 0, bitrate: 1e6, fps: 30, latency: 1, rebuffer: 0, advice: 0, alerts: 0, since: null, reason: '', ...more,
});

describe('figures', () => {
  test('are as long as they have to be', () => {
    expect([bitrate(900_000), bitrate(6_120_000), bitrate(61.2e6), bitrate(2.48e9)]).toEqual(['900 kbit/s', '6.12 Mbit/s', '61.2 Mbit/s', '2.48 Gbit/s']);
    expect([seconds(0.0042), seconds(0.93), seconds(12.34), seconds(0)]).toEqual(['4.2 ms', '0.93 s', '12.3 s', '0 ms']);
    expect([percent(0.004), percent(0.9998), percent(0)]).toEqual(['0.4 %', '100 %', '0 %']);
    expect([span(4), span(200), span(7500), span(273_600)]).toEqual(['4 s', '3 min 20 s', '2 h 5 min', '3 d 4 h']);
    expect([axisBitrate(0), axisBitrate(500_000), axisBitrate(2e6)]).toEqual(['0 k', '500 k', '2 M']);
    expect([ago(0, 1_000), ago(0, 4_000), ago(0, 5_000_000)]).toEqual(['now', '4 s ago', '1 h ago']);
  });

  test('that are not known are no zeros', () => {
    for (const text of [bitrate(null), seconds(undefined), percent(NaN), millis(null)]) expect(text).toBe('–');
  });
});

describe('rows', () => {
  test('are read by the names of their columns, whatever else comes', () => {
    const columns = ['viewers', 'name', 'new', 'health', 'score'];
    expect(rowOf(columns, [7, 'live/show', 'x', 'stalled', null])).toMatchObject({ name: 'live/show', viewers: 7, health: 'stalled', score: null, latency: null, reason: '' });
    expect(rowOf(columns, [7, null, 'x', 'live', 1])).toBeNull();
  });

  test('are the same from a whole stream of a server that knows less', () => {
    const stream = { name: 'live/show', state: 'live', viewers: 3, bitrate: 5, ingest: { video_frames: 25 }, advice: [{ advice: 'x', text: 'y' }] } as unknown as Stream;
    expect(rowOfStream(stream)).toMatchObject({ name: 'live/show', health: 'live', viewers: 3, fps: 25, advice: 1, latency: null });
  });

  test('stand with the worst first, by viewers among equals, and by name in the end', () => {
    const rows = [row('a'), row('z', { viewers: 9 }), row('b'), row('d', { health: 'degraded' }), row('s', { health: 'stalled' }), row('e', { health: 'ended' })];
    const names = (key: 'trouble' | 'name', only: 'all' | 'suffering' = 'all', words = '') => arrange(rows, words, key, only).map(({ name }) => name).join('');
    expect(names('trouble')).toBe('sdzabe');
    expect(names('name')).toBe('abdesz');
    expect(names('trouble', 'suffering')).toBe('sd');
    expect(names('name', 'all', ' Z ')).toBe('z');
    expect(suffers(row('a', { alerts: 1 }))).toBe(true);
  });

  test('keep their order below a pointer', () => {
    const before = [row('b'), row('a')];
    expect(inOrderOf(before, [row('a'), row('n'), row('b')]).map(({ name }) => name)).toEqual(['b', 'a', 'n']);
  });

  test('have the last two minutes, and what was before the page', () => {
    const sparks = new Sparks();
    const rows = new Map([['a', row('a', { bitrate: 5 })]]);
    sparks.tick(rows);
    sparks.fill('a', [1, 2, 3]);
    expect(sparks.of('a')).toEqual([1, 2, 5]);
    for (let i = 0; i < 200; i += 1) sparks.tick(rows);
    expect(sparks.of('a')).toHaveLength(SPARK);
    sparks.tick(new Map());
    expect(sparks.of('a')).toEqual([]);
  });
});

describe('seconds', () => {
  const series = (start: number, values: (number | null)[]) => ({ start, step: 1, count: values.length, columns: { fps: values } });

  test('that came live stay when the past is fetched', () => {
    const all = new Seconds();
    all.push(104, ['fps', 'new'], [4, 1]);
    all.push(105, ['fps', 'new'], [5, 1]);
    all.load(series(100, [0, 1, 2, 3, 44]));
    expect(all.times).toEqual([100, 101, 102, 103, 104, 105]);
    expect(all.of('fps')).toEqual([0, 1, 2, 3, 44, 5]);
    expect(all.of('new')).toEqual([null, null, null, null, null, 1]);
  });

  test('are replaced, never doubled, and never go back', () => {
    const all = new Seconds(3);
    for (const at of [1, 2, 2, 1, 3, 4]) all.push(at, ['fps'], [at * 10]);
    expect(all.times).toEqual([2, 3, 4]);
    expect(all.of('fps')).toEqual([20, 30, 40]);
    all.add(series(3, [33, 44, 55]));
    expect(all.of('fps')).toEqual([30, 44, 55]);
    expect(all.of('other')).toEqual([null, null, null]);
  });

  test('give the newest that is known, unless it is old', () => {
    const all = new Seconds();
    all.load(series(0, [7, null, null]));
    expect(all.latest('fps')).toBe(7);
    all.load(series(0, [7, ...Array.from({ length: 9 }, () => null)]));
    expect(all.latest('fps')).toBeNull();
  });
});

test('groups of viewers are judged by the sum of their waiting', () => {
  const session = (edge: string, play: number, stall: number, height: number | null = null) => ({ edge, play, stall, height, player: 'cmcd' }) as unknown as Session;
  const all = [session('a', 600, 2), session('a', 10, 5), session('a', 100, 0), session('b', 90, 10, 720)];
  const edges = pooled(all, 'edge');
  expect(edges.get('a')).toEqual({ sessions: 3, waiting: 7 / 717 });
  expect(groupSuffers(edges.get('a')!)).toBe(false);
  expect(groupSuffers(edges.get('b')!)).toBe(false);
  expect(groupSuffers({ sessions: 3, waiting: 0.03 })).toBe(true);
  expect([...pooled(all, 'rendition').keys()]).toEqual(['720p']);
});

test('addresses say what is shown', () => {
  expect(read('/')).toEqual({ view: 'streams' });
  expect(read('/streams/live/show')).toEqual({ view: 'stream', name: 'live/show' });
  expect([read('/nodes').view, read('/alerts').view, read('/x/y').view, read('/%').view]).toEqual(['nodes', 'alerts', 'missing', 'missing']);
});

describe('the doctor', () => {
  const status = (state: string, advice: string[] = []) =>
    ({ health: { state, since: null, reasons: [] }, advice: advice.map((advice) => ({ advice, text: advice })), series: { start: 0, step: 1, columns: { fps: [30, null, null] } } }) as unknown as Status;

  test('is calm only when there is nothing to say', () => {
    expect([tone(status('live')), tone(status('live', ['x'])), tone(status('degraded')), tone(status('stalled')), tone(status('offline', ['x']))]).toEqual(['good', 'warn', 'warn', 'bad', 'off']);
  });

  test('mentions a picture that stands still, and calls it no fault', () => {
    const slide = status('live', ['frozen-picture']);
    slide.headline = 'It plays well; see whether this is meant.';
    expect([tone(slide), headline(slide)]).toEqual(['good', slide.headline]);
    expect(headline(status('live', ['frozen-picture', 'silence']))).toBe('One thing to change');
  });

  test('says each thing once', () => {
    const reason = (reason: string, severity = 'warning') => ({ reason, severity, text: `${reason} is wrong`, since: 0 });
    const told = status('degraded', ['keyframe-interval']);
    told.health.reasons = [reason('keyframes'), reason('encoder'), reason('frozen', 'info')] as Status['health']['reasons'];
    told.headline = 'keyframes is wrong';
    expect(headline(told)).toBe('One thing to change');
    expect(unsaid(told).map(({ reason }) => reason)).toEqual(['encoder']);
    told.advice = [];
    expect(headline(told)).toBe('keyframes is wrong');
    expect(unsaid(told).map(({ reason }) => reason)).toEqual(['encoder']);
  });

  test('says once what is cured', () => {
    expect(cured(status('live', ['a', 'b']).advice, status('live', ['b']).advice).map(({ advice }) => advice)).toEqual(['a']);
  });

  test('reads its address, and the key behind the hash', () => {
    expect([named('/doctor/live/show'), named('/doctor/live/show/'), named('/doctor/live')]).toEqual(['live/show', 'live/show', null]);
    expect([keyOf('#key=a%26b'), keyOf(''), keyOf('#key=100%')]).toEqual(['a&b', '', '100%']);
    expect(newest(status('live'), 'fps')).toBe(30);
  });
});
