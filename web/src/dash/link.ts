/**
 * Hears the server: by server-sent events, and by asking every two seconds where those do not come through. It never
 * gives up; `store.link` says how it stands.
 */
import { batch } from '@preact/signals';
import { ApiError, ask, streamPath } from './api';
import { type Cell, rowOf, rowOfStream, suffers } from './rows';
import { Seconds } from './series';
import * as store from './store';
import type { Access, Alerts, Happening, Node, Overview, Ports, Row, Series, Stream } from './types';

const POLL = 2_000;
/** After so long without a word, the server is asked whether it is there. */
const SILENCE = 12_000;
/** Between tries to hear the live stream while asking. */
const AGAIN = 15_000;
/** Tries of the live stream that fail in a row before the page begins to ask. */
const TRIES = 2;
const KEEP_EVENTS = 300;

interface Hello {
  at: number;
  role: Access['role'];
  columns: string[];
  series: string[];
}

let source: EventSource | null = null;
let wanted: string | null = null;
/** The stream whose last 15 minutes are there. */
let past: string | null = null;
let columns: string[] = [];
let seriesNames: string[] = [];
let failures = 0;
let polling: number | undefined;
let begun = false;

/** Begins, once, or begins anew after a login. */
export async function start(): Promise<void> {
  try {
    store.access.value = await ask<Access>('/api/v1/session');
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      store.loginWanted.value = true;
      return;
    }
    // A server without sessions is a free one; one that does not answer is tried again by the link.
    if (error instanceof ApiError && error.status === 404) store.access.value = { role: 'admin', login: false };
  }
  store.loginWanted.value = false;
  if (!begun) {
    begun = true;
    window.setInterval(watch, 1_000);
  }
  open();
  void first();
}

/** Which stream's seconds are wanted beside the lists. */
export function follow(name: string | null): void {
  if (name === wanted) return;
  wanted = name;
  past = null;
  batch(() => {
    store.stream.value = null;
    store.streamError.value = '';
    store.streamEvents.value = [];
    store.seconds.value = new Seconds();
  });
  if (!begun || store.loginWanted.value) return;
  open();
  if (name) void fetchStream(name);
}

export function retry(): void {
  failures = 0;
  void start();
}

/** The lists, before or without the live stream. */
async function first(): Promise<void> {
  const jobs = [
    ask<Alerts>('/api/v1/alerts').then((alerts) => (store.alerts.value = alerts)),
    ask<Happening[]>('/api/v1/events').then((events) => (store.happenings.value = events)),
    ask<Node[]>('/api/v1/nodes').then((nodes) => (store.nodes.value = nodes)),
    store.ports.value ?? ask<Ports>('/api/v1/ports').then((ports) => (store.ports.value = ports)),
  ];
  await Promise.allSettled(jobs);
  if (wanted) await (past === wanted ? refreshStream(wanted) : fetchStream(wanted));
}

function open(): void {
  source?.close();
  const query = wanted ? `?stream=${encodeURIComponent(wanted)}` : '';
  const opened = new EventSource(`/api/v1/live${query}`);
  source = opened;
  const on = <T>(name: string, hear: (data: T) => void) =>
    opened.addEventListener(name, (message) => {
      if (source !== opened) return;
      let data: T;
      try {
        data = JSON.parse((message as MessageEvent<string>).data) as T;
      } catch {
        return;
      }
      batch(() => {
        heard();
        hear(data);
      });
    });
  on<Hello>('hello', hello);
  on<{ at: number; all?: boolean; rows: Cell[][]; gone?: string[] }>('streams', takeRows);
  on<Overview>('overview', takeOverview);
  on<Node[]>('nodes', (nodes) => (store.nodes.value = nodes));
  on<{ active: Alerts['active'] }>('alerts', takeAlerts);
  on<Happening>('event', happened);
  on<{ at: number; values: (number | null)[] }>('second', (second) => {
    store.seconds.value.push(second.at, seriesNames, second.values);
    store.secondsBeat.value += 1;
  });
  on<Stream>('stream', (stream) => {
    if (stream.name === wanted) store.stream.value = stream;
  });
  opened.addEventListener('error', () => {
    if (source === opened) failed(opened.readyState === EventSource.CLOSED);
  });
}

function hello(said: Hello): void {
  columns = said.columns;
  seriesNames = said.series;
  failures = 0;
  store.clockOffset.value = said.at - Date.now();
  store.link.value = 'live';
  stopPolling();
}

function heard(): void {
  store.heardAt.value = Date.now();
  store.linkError.value = '';
}

/** The live stream broke. The browser tries again by itself unless the answer was none. */
function failed(closed: boolean): void {
  failures += 1;
  if (store.link.value === 'live') store.link.value = 'connecting';
  if (failures >= TRIES || closed) {
    startPolling();
    if (closed) window.setTimeout(() => store.link.value !== 'live' && !store.loginWanted.value && open(), AGAIN);
  }
}

function startPolling(): void {
  if (polling !== undefined) return;
  const turn = async () => {
    await poll();
    if (polling !== undefined) polling = window.setTimeout(turn, POLL);
  };
  polling = window.setTimeout(turn, 0);
}

function stopPolling(): void {
  window.clearTimeout(polling);
  polling = undefined;
}

async function poll(): Promise<void> {
  try {
    const [overview, streams] = await Promise.all([
      ask<Overview>('/api/v1/overview'),
      ask<Stream[]>('/api/v1/streams'),
    ]);
    if (store.link.value === 'live') return;
    batch(() => {
      heard();
      store.link.value = 'polling';
      store.clockOffset.value = overview.at - Date.now();
      store.overview.value = overview;
      store.rows.value = new Map(streams.map((stream) => [stream.name, rowOfStream(stream)]));
    });
    await first();
  } catch (error) {
    lost(error);
  }
}

function lost(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) {
    stopPolling();
    source?.close();
    store.loginWanted.value = true;
    return;
  }
  store.link.value = 'lost';
  store.linkError.value = error instanceof Error ? error.message : String(error);
}

/** Once a second: the sparklines move on, and a silence is looked into. */
function watch(): void {
  if (store.rows.value && store.link.value !== 'lost') store.sparks.tick(store.rows.value);
  store.beat.value += 1;
  void askWhy();
  const silent = Date.now() - store.heardAt.value;
  if (store.link.value === 'live' && silent > SILENCE && silent % 4_000 < 1_000) {
    ask<Overview>('/api/v1/overview').then((overview) => batch(() => (heard(), takeOverview(overview))), lost);
  }
  if (store.link.value === 'connecting' && silent > SILENCE) startPolling();
  if (store.link.value === 'lost') {
    startPolling();
    if (source?.readyState === EventSource.CLOSED && store.beat.value % 5 === 0) open();
  }
}

/** Rows that suffer and do not say why, two a second: the reason stands in the stream's object. */
async function askWhy(): Promise<void> {
  const rows = store.rows.value;
  if (!rows || store.link.value === 'lost' || document.hidden) return;
  const known = store.whys.value;
  const unknown = (row: Row) => suffers(row) && row.health !== 'live' && !row.reason && known.get(row.name)?.health !== row.health;
  const wanted = [...rows.values()].filter(unknown).slice(0, 2);
  for (const { name, health } of wanted) {
    // Entered before the answer, so that it is asked once.
    store.whys.value = new Map(store.whys.value).set(name, { health, text: '' });
    await ask<Stream>(streamPath(name)).then((stream) => {
      store.whys.value = new Map(store.whys.value).set(name, { health, text: stream.health?.reasons[0]?.text ?? '' });
    }, () => undefined);
  }
}

function takeRows(said: { rows: Cell[][]; all?: boolean; gone?: string[] }): void {
  const rows = new Map(said.all ? [] : store.rows.value);
  for (const name of said.gone ?? []) rows.delete(name);
  for (const cells of said.rows) {
    const row = rowOf(columns, cells);
    if (row) rows.set(row.name, row);
  }
  store.rows.value = rows;
}

function takeOverview(overview: Overview): void {
  store.overview.value = overview;
  store.clockOffset.value = overview.at - Date.now();
}

function takeAlerts(said: { active: Alerts['active'] }): void {
  const before = store.alerts.value;
  store.alerts.value = { recent: before?.recent ?? [], rules: before?.rules ?? [], active: said.active };
  // What is over is not in the message.
  if (before && before.active.length > said.active.length) {
    void ask<Alerts>('/api/v1/alerts').then((alerts) => (store.alerts.value = alerts), () => undefined);
  }
}

function happened(event: Happening): void {
  store.happenings.value = [...store.happenings.value.slice(-KEEP_EVENTS), event];
  if (event.stream === wanted) store.streamEvents.value = [...store.streamEvents.value.slice(-KEEP_EVENTS), event];
}

async function fetchStream(name: string): Promise<void> {
  const path = streamPath(name);
  try {
    const [stream, series, events] = await Promise.all([
      ask<Stream>(path),
      ask<Series>(`${path}/series?last=900`),
      ask<Happening[]>(`${path}/events`),
    ]);
    if (name !== wanted) return;
    store.stream.value = stream;
    store.streamError.value = '';
    past = name;
    store.seconds.value.load(series);
    store.secondsBeat.value += 1;
    store.streamEvents.value = events;
  } catch (error) {
    if (name !== wanted) return;
    if (error instanceof ApiError && error.status === 401) lost(error);
    store.streamError.value = error instanceof Error ? error.message : String(error);
  }
}

/** What has come since, for a page whose past is there already. */
async function refreshStream(name: string): Promise<void> {
  const path = streamPath(name);
  const missing = Math.ceil(store.now() / 1000) - (store.seconds.value.times.at(-1) ?? 0);
  if (missing > 600) return fetchStream(name);
  try {
    const [stream, series, events] = await Promise.all([
      ask<Stream>(path),
      ask<Series>(`${path}/series?last=${Math.max(5, missing + 2)}`),
      ask<Happening[]>(`${path}/events`),
    ]);
    if (name !== wanted) return;
    store.stream.value = stream;
    store.seconds.value.add(series);
    store.secondsBeat.value += 1;
    store.streamEvents.value = events;
  } catch (error) {
    if (name === wanted) store.streamError.value = error instanceof Error ? error.message : String(error);
  }
}

export async function login(password: string): Promise<void> {
  store.access.value = await ask<Access>('/api/v1/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ password }),
  });
  store.loginWanted.value = false;
  await start();
}

export async function logout(): Promise<void> {
  await ask('/api/v1/session', { method: 'DELETE' });
  source?.close();
  stopPolling();
  store.access.value = null;
  store.loginWanted.value = true;
}
