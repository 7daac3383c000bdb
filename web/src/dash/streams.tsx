/** The list of streams: what suffers first, and cheap with hundreds of them. */
import { computed, signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { ask, streamPath } from './api';
import { Spark } from './chart';
import { bitrate, count, many, percent, plain, seconds, span } from './format';
import { Copy, Empty, Glyph, Score, State, Thumbnail } from './parts';
import { SPARK, type SortKey, arrange, inOrderOf, suffers } from './rows';
import { streamHref } from './route';
import * as store from './store';
import type { Alert, Node, Row, Series } from './types';

const words = signal('');
const sort = signal<SortKey>('trouble');
const only = signal<'all' | 'suffering'>('all');

const shown = computed(() => arrange(store.rows.value?.values() ?? [], words.value, sort.value, only.value));

export function Streams() {
  const rows = store.rows.value;
  return (
    <>
      <h1 tabIndex={-1} class="unseen">Streams</h1>
      <Attention />
      <Tiles />
      {rows === null ? <Loading /> : rows.size === 0 ? <NoStream /> : <List total={rows.size} />}
    </>
  );
}

function Loading() {
  return <p class="quiet" role="status">Asking for the streams…</p>;
}

interface Trouble {
  key: string;
  tone: 'bad' | 'warn';
  who: string;
  href: string;
  why: string;
  since: number | null;
  weight: number;
}

/** The reason, from the list or asked for beside it. */
const why = (row: Row) => row.reason || (store.whys.value.get(row.name)?.text ?? '');

/** What is wrong, by whom, and why: the first thing to read. */
function troubles(rows: Iterable<Row>, alerts: Alert[], nodes: Node[]): Trouble[] {
  const found: Trouble[] = [];
  for (const alert of alerts) {
    if (alert.suppressed_by) continue;
    const href = alert.scope.kind === 'stream' ? streamHref(alert.scope.name) : alert.scope.kind === 'edge' ? '/nodes' : '/alerts';
    const critical = alert.severity === 'critical';
    found.push({ key: alert.id, tone: critical ? 'bad' : 'warn', who: alert.scope.name || alert.rule, href, why: alert.text, since: alert.since, weight: critical ? 100 : 50 });
  }
  for (const node of nodes) {
    if (node.state === 'gone') found.push({ key: `node ${node.node}`, tone: 'bad', who: node.node, href: '/nodes', why: `This ${node.role} has not been heard of.`, since: node.seen, weight: 90 });
  }
  const told = new Set(found.map(({ who }) => who));
  for (const row of rows) {
    if (!suffers(row) || told.has(row.name)) continue;
    const bad = row.health === 'stalled' || row.health === 'reconnecting';
    const plainly = { stalled: 'No media comes.', reconnecting: 'Its publisher was lost; it is waited for.', degraded: 'It is degraded.' };
    found.push({
      key: row.name,
      tone: bad ? 'bad' : 'warn',
      who: row.name,
      href: streamHref(row.name),
      why: why(row) || plainly[row.health as keyof typeof plainly] || 'An alert is active.',
      since: null,
      weight: (bad ? 80 : 40) + Math.min(9, Math.log10(1 + row.viewers)),
    });
  }
  return found.sort((a, b) => b.weight - a.weight || (a.key < b.key ? -1 : 1));
}

const SHOWN = 4;

function Attention() {
  const rows = store.rows.value;
  if (!rows || rows.size === 0) return null;
  const found = troubles(rows.values(), store.alerts.value?.active ?? [], store.nodes.value ?? []);
  const live = [...rows.values()].filter((row) => row.health === 'live').length;
  if (!found.length) {
    return (
      <section class="attention good card" aria-label="What needs attention">
        <h2><Glyph name="check" /> {live ? `All is well: ${many(live, 'stream')} live, nothing suffers.` : 'Nothing is live, and nothing suffers.'}</h2>
      </section>
    );
  }
  return (
    <section class={`attention card ${found[0]!.tone}`} aria-label="What needs attention">
      <h2><Glyph name="warn" /> {many(found.length, 'thing')} {found.length === 1 ? 'needs' : 'need'} attention</h2>
      <ul>
        {found.slice(0, SHOWN).map((trouble) => (
          <li key={trouble.key} class={trouble.tone}>
            <a data-in href={trouble.href}>{trouble.who}</a>
            <span>{trouble.why}</span>
            {trouble.since !== null && <small>for {span((store.now() - trouble.since) / 1000)}</small>}
          </li>
        ))}
      </ul>
      {found.length > SHOWN && (
        <button type="button" class="small" onClick={() => ((only.value = 'suffering'), (sort.value = 'trouble'))}>
          and {found.length - SHOWN} more
        </button>
      )}
    </section>
  );
}

function Tiles() {
  const overview = store.overview.value;
  const rows = store.rows.value;
  if (!rows || rows.size === 0 || !overview) return null;
  const s = overview.streams;
  const ailing = (s.degraded ?? 0) + (s.stalled ?? 0) + (s.reconnecting ?? 0);
  const lost = Object.values(overview.lost ?? {}).reduce((sum, n) => sum + n, 0);
  return (
    <dl class="tiles">
      <Tile name="On air" value={count((s.live ?? 0) + ailing)} note={ailing ? `${ailing} not well` : 'all well'} tone={ailing ? 'warn' : ''} />
      <Tile name="Viewers" value={count(overview.viewers)} />
      <Tile name="Coming in" value={bitrate(overview.bitrate_in)} />
      <Tile name="Going out" value={bitrate(overview.bitrate_out)} />
      <Tile name="Nodes" value={count(overview.nodes.up)} note={overview.nodes.gone ? `${overview.nodes.gone} gone` : overview.nodes.draining ? `${overview.nodes.draining} draining` : ''} tone={overview.nodes.gone ? 'bad' : ''} />
      <Tile name="Alerts" value={count(overview.alerts.warning + overview.alerts.critical)} tone={overview.alerts.critical ? 'bad' : overview.alerts.warning ? 'warn' : ''} />
      {lost > 0 && <Tile name="Reports lost" value={count(lost)} note="analytics was too slow" tone="warn" />}
    </dl>
  );
}

function Tile({ name, value, note = '', tone = '' }: { name: string; value: string; note?: string; tone?: string }) {
  const [figure, unit] = value.split(' ');
  return (
    <div class={`tile card ${tone}`}>
      <dt>{name}</dt>
      <dd>
        <span>{figure}{unit && <span class="unit"> {unit}</span>}</span>
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

/** Where to push: the first thing that a new operator needs. */
function NoStream() {
  const ports = store.ports.value;
  const secure = ports !== null && ports.rtmp === undefined && ports.rtmps !== undefined;
  const port = (secure ? ports.rtmps : ports?.rtmp) ?? 1935;
  const server = `${secure ? 'rtmps' : 'rtmp'}://${location.hostname}${port === 1935 && !secure ? '' : `:${port}`}/live`;
  if (store.overview.value?.role === 'edge') {
    return (
      <Empty title="No stream here yet">
        <p>This is an edge: streams appear as soon as a viewer asks it for one, or its origin announces it. Publishers push to the origin.</p>
      </Empty>
    );
  }
  return (
    <Empty title="No stream yet: push one">
      <ol class="steps">
        <li>
          In <b>OBS</b>, open <b>Settings → Stream</b>, choose <b>Custom…</b>, and paste
          <dl>
            <div><dt>Server</dt><dd><Copy text={server} label="the server's address" /></dd></div>
            <div><dt>Stream key</dt><dd><Copy text="show" label="the stream key" /> <small>or <code>show?key=SECRET</code> from another machine; the server printed its key at the first start</small></dd></div>
          </dl>
        </li>
        <li>In <b>Settings → Output → Streaming</b>, set <b>Keyframe Interval</b> to <b>1 s</b>.</li>
        <li>Press <b>Start Streaming</b>. The stream appears here within two seconds.</li>
      </ol>
      <p class="quiet">Without OBS at hand: <code>aqueduct demo</code> shows a moving test picture, or</p>
      <Copy text={`ffmpeg -re -i clip.mp4 -c copy -f flv ${server}/show`} label="the ffmpeg command" />
    </Empty>
  );
}

const HEADS: [SortKey, string, string][] = [
  ['viewers', 'Viewers', 'num'],
  ['score', 'Score', 'num'],
  ['latency', 'Latency', 'num'],
  ['rebuffer', 'Waiting', 'num'],
  ['bitrate', 'Bitrate', 'wide'],
];

/** Pixels of a row; the style sheet has the same. */
const ROW = 68;
const ROW_PHONE = 92;
const AHEAD = 6;

function List({ total }: { total: number }) {
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const typing = (event.target as Element).closest('input, textarea, select, dialog');
      if (event.key === '/' && !typing) {
        event.preventDefault();
        search.current?.focus();
      }
    };
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, []);
  const held = useRef(false);
  const before = useRef<{ how: string; list: Row[] }>({ how: '', list: [] });
  const how = `${words.value} ${sort.value} ${only.value}`;
  const list = held.current && before.current.how === how ? inOrderOf(before.current.list, shown.value) : shown.value;
  before.current = { how, list };
  return (
    <section aria-label="Streams">
      <div class="toolbar">
        <label class="search">
          <Glyph name="search" />
          <span class="unseen">Find a stream by name</span>
          <input ref={search} type="search" placeholder="Find a stream   /" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
        </label>
        <label class="toggle">
          <input type="checkbox" checked={only.value === 'suffering'} onChange={(event) => (only.value = event.currentTarget.checked ? 'suffering' : 'all')} />
          only what suffers
        </label>
        <label class="sorting">
          <span>Sort by</span>
          <select value={sort.value} onChange={(event) => (sort.value = event.currentTarget.value as SortKey)}>
            <option value="trouble">trouble first</option>
            <option value="name">name</option>
            <option value="viewers">viewers</option>
            <option value="score">score, worst first</option>
            <option value="latency">latency, longest first</option>
            <option value="rebuffer">waiting, most first</option>
            <option value="bitrate">bitrate</option>
          </select>
        </label>
        <span class="quiet" role="status">{list.length === total ? many(total, 'stream') : `${count(list.length)} of ${many(total, 'stream')}`}</span>
      </div>
      {list.length === 0 ? (
        <Empty title={words.value ? `No stream is called like “${words.value}”` : 'Nothing suffers'}>
          <button type="button" onClick={() => ((words.value = ''), (only.value = 'all'))}>Show all streams</button>
        </Empty>
      ) : (
        <div onPointerEnter={() => (held.current = true)} onPointerLeave={() => (held.current = false)} onFocusIn={() => (held.current = true)} onFocusOut={() => (held.current = false)}>
          <Table list={list} />
        </div>
      )}
    </section>
  );
}

/** Rows of which only those on screen exist. */
function Table({ list }: { list: Row[] }) {
  const body = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, last: 20, height: ROW });
  useLayoutEffect(() => {
    const measure = () => {
      const top = body.current?.getBoundingClientRect().top ?? 0;
      const height = window.matchMedia('(max-width: 760px)').matches ? ROW_PHONE : ROW;
      const first = Math.max(0, Math.floor(-top / height) - AHEAD);
      const last = Math.ceil((window.innerHeight - top) / height) + AHEAD;
      setView((old) => (old.first === first && old.last === last && old.height === height ? old : { first, last, height }));
    };
    measure();
    window.addEventListener('scroll', measure, { passive: true });
    window.addEventListener('resize', measure);
    return () => {
      window.removeEventListener('scroll', measure);
      window.removeEventListener('resize', measure);
    };
  }, [list.length]);
  const first = Math.min(view.first, Math.max(0, list.length - 1));
  const some = list.slice(first, Math.max(view.last, first + 1));
  const head = (key: SortKey) => (sort.value === key ? 'descending' : 'none') as 'descending' | 'none';
  return (
    <div class="streams card" role="table" aria-label="Streams" aria-rowcount={list.length + 1}>
      <div role="row" class="head" aria-rowindex={1}>
        <span role="columnheader" aria-sort={sort.value === 'name' ? 'ascending' : 'none'}>
          <button type="button" onClick={() => (sort.value = sort.value === 'name' ? 'trouble' : 'name')}>Stream</button>
        </span>
        {HEADS.map(([key, label, kind]) => (
          <span key={key} role="columnheader" class={kind} aria-sort={head(key)}>
            <button type="button" onClick={() => (sort.value = sort.value === key ? 'trouble' : key)}>{label}{sort.value === key && <i aria-hidden="true"> ↓</i>}</button>
          </span>
        ))}
      </div>
      <div ref={body} role="rowgroup" class="body" style={{ height: `${list.length * view.height}px` }}>
        {some.map((row, i) => (
          <Line key={`${row.name} ${over(row)}`} row={row} index={first + i} top={(first + i) * view.height} />
        ))}
      </div>
    </div>
  );
}

function move(event: KeyboardEvent, index: number): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  const next = step && document.querySelector<HTMLAnchorElement>(`[data-row="${index + step}"]`);
  if (!next) return;
  event.preventDefault();
  next.focus();
}

const filled = new Set<string>();

const over = (row: Row) => row.health === 'ended' || row.health === 'offline';

function Line({ row, index, top }: { row: Row; index: number; top: number }) {
  useEffect(() => {
    if (filled.has(row.name)) return;
    filled.add(row.name);
    ask<Series>(`${streamPath(row.name)}/series?last=${SPARK}&columns=bitrate`).then(
      (series) => store.sparks.fill(row.name, series.columns.bitrate ?? []),
      () => undefined,
    );
  }, [row.name]);
  const bad = suffers(row);
  const gone = over(row);
  const words = bad && why(row) ? why(row) : row.advice > 0 ? `${many(row.advice, 'piece')} of advice for the streamer` : row.since && !gone ? `for ${span((store.now() - row.since) / 1000)}` : '';
  return (
    <div role="row" class={`line ${gone ? 'gone' : ''}`} aria-rowindex={index + 2} style={{ transform: `translateY(${top}px)` }}>
      <span role="cell" class="who">
        <Thumbnail name={row.name} live={!gone} />
        <span class="title">
          <span class="top">
            <a data-in data-row={index} href={streamHref(row.name)} onKeyDown={(event) => move(event, index)}>{row.name}</a>
            <State state={row.health} />
            {row.alerts > 0 && <span class="pill bad"><i aria-hidden="true" />{many(row.alerts, 'alert')}</span>}
          </span>
          <small class={bad ? 'why' : ''} title={words}>{words}</small>
        </span>
      </span>
      <span role="cell" class="num" data-label="viewers">{count(row.viewers)}</span>
      <span role="cell" class="num" data-label="score"><Score value={row.score} /></span>
      <span role="cell" class="num" data-label="latency">{seconds(row.latency)}</span>
      <span role="cell" class="num" data-label="waiting">{percent(row.rebuffer)}</span>
      <span role="cell" class="wide">
        <Spark values={store.sparks.of(row.name)} bad={bad} label={`Bitrate of the last two minutes, now ${bitrate(row.bitrate)}`} />
        <span class="rate">{bitrate(row.bitrate)}<small>{row.fps === null ? '' : `${plain(row.fps, 0)} fps`}</small></span>
      </span>
    </div>
  );
}
