// An operator's port with as many streams as a test wants: the pages as they were built, and the API of docs/api.md with
// figures that move. For what cannot be had from real servers in a test: 500 streams, faults of every kind, a port that
// goes away. What the real server says is tested in tests/tests/e2e/dashboard.rs.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const DIST = new URL('../../web/dist', import.meta.url).pathname;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
export const COLUMNS = ['name', 'health', 'score', 'viewers', 'bitrate', 'fps', 'latency', 'rebuffer', 'advice', 'alerts', 'since'];
const SERIES = [
  'bitrate', 'fps', 'keyframe_interval', 'av_skew', 'rtt', 'encode_speed', 'encode_backlog', 'part_lag', 'viewers', 'rebuffer',
  'player_latency', 'startup', 'bitrate_played', 'score', 'health', 'latency_uplink', 'latency_transcode', 'latency_package',
  'latency_relay', 'latency_edge', 'latency_player', 'arrival_scatter', 'clock_drift',
];
const WHY = {
  degraded: '48.2 of 60.0 frames a second come from the encoder.',
  stalled: 'No media has come for 4.1 s.',
  reconnecting: 'The publisher was lost; it is waited for.',
};
/** A stream with a camera that cannot be fetched, and a target that refuses. */
const WAYS = {
  sources: [
    { name: 'rtsp', state: 'absent', protocol: null, encoder: '', standby: null, last_end: 'lost', problem: '10.0.0.5 refuses connections: is the camera on, and is this its RTSP port?' },
    { name: 'push:backup', state: 'on-air', protocol: 'rtmp', encoder: 'obs-output module', standby: null, last_end: null, problem: null },
  ],
  last_switch: { from: 'rtsp', to: 'push:backup', reason: 'left', text: 'The source before it left.' },
  push: [{ target: 'example', state: 'failed', reason: 'The server refuses the key.', again_millis: 15_000, bitrate: 0, dropped: 0, failures: 3 }],
};
const GOP = {
  advice: 'keyframe-interval',
  text: 'The keyframe interval is 10.0 s, so segments are long and players start late: set Keyframe Interval to 1 s (OBS: Settings → Output → Streaming, Advanced mode).',
};

/** The same for the same arguments, between 0 and 1. */
const noise = (...seeds) => {
  const x = Math.sin(seeds.reduce((sum, seed, i) => sum + seed * (12.9898 + i * 65.233), 0)) * 43758.5453;
  return x - Math.floor(x);
};

function health(i) {
  if (i === 3) return 'degraded';
  if (i === 5) return 'stalled';
  if (i === 8) return 'reconnecting';
  return i % 97 === 96 ? 'ended' : 'live';
}

const NAMES = ['show', 'stage-left', 'stage-right', 'football', 'keynote', 'lecture-hall', 'news', 'cooking', 'chess', 'birds', 'radio', 'city'];

export class Operator {
  constructor({ streams = 12, password = null } = {}) {
    this.count = streams;
    this.password = password;
    this.began = Date.now() - 5_021_000;
    this.clients = new Set();
    this.drained = [];
    this.gop = true;
    this.deaf = false;
    /** Whether server-sent events come through. */
    this.streaming = true;
  }

  name(i) {
    return `live/${NAMES[i % NAMES.length]}${i < NAMES.length ? '' : `-${Math.floor(i / NAMES.length)}`}`;
  }

  row(i, at = Date.now()) {
    const state = health(i);
    const second = Math.floor(at / 1000);
    const up = state !== 'ended' && state !== 'stalled' && state !== 'reconnecting';
    const viewers = state === 'ended' ? 0 : Math.round(1400 * noise(i) ** 4 + 30 * noise(i, second));
    const bitrate = up ? Math.round((2e6 + 5e6 * noise(i, 1)) * (0.93 + 0.14 * noise(i, second))) : 0;
    const ill = state !== 'live';
    return [
      this.name(i), state, state === 'ended' ? null : ill ? 61 : 92 + Math.round(7 * noise(i, 2)), viewers, bitrate, up ? (state === 'degraded' ? 48 : 60) : 0,
      state === 'ended' ? null : 0.7 + 0.5 * noise(i, 3), state === 'ended' ? null : ill ? 0.034 : 0.004 * noise(i, 4),
      (i === 0 && this.gop) || i === 3 ? 1 : 0, i === 5 ? 1 : 0, this.began,
    ];
  }

  second(i, at) {
    const second = Math.floor(at / 1000);
    const [, state, score, viewers, bitrate, fps, latency, rebuffer] = this.row(i, at);
    const bad = state === 'degraded' && second % 300 < 200;
    const wave = noise(i, second, 7);
    const values = {
      bitrate, fps: state === 'degraded' && !bad ? 60 : fps, keyframe_interval: i === 0 && this.gop ? 10 : 1, av_skew: 0.012 + 0.01 * wave,
      rtt: 0.018 + 0.01 * wave, encode_speed: 3.6 + wave, encode_backlog: 0.03, part_lag: 0.003 + 0.003 * wave, viewers, rebuffer: (rebuffer ?? 0) * 2 * wave,
      player_latency: latency, startup: wave > 0.5 ? 0.4 + 0.3 * wave : null, bitrate_played: bitrate * 0.9, score, health: state === 'live' ? 0 : bad ? 1 : state === 'degraded' ? 0 : 2,
      latency_uplink: 0.009, latency_transcode: 0, latency_package: 0.204, latency_relay: 0.012 + 0.004 * wave, latency_edge: 0.1 + 0.03 * wave, latency_player: 0.55 + 0.1 * wave, arrival_scatter: 0.03 + 0.01 * wave, clock_drift: 0.00002,
    };
    return SERIES.map((name) => values[name] ?? null);
  }

  series(i, last) {
    const end = Math.floor(Date.now() / 1000);
    const rows = Array.from({ length: last }, (_, k) => this.second(i, (end - last + k) * 1000));
    return { name: this.name(i), start: end - last, step: 1, count: last, columns: Object.fromEntries(SERIES.map((name, c) => [name, rows.map((row) => row[c])])) };
  }

  stream(i) {
    const [name, state, score, viewers, bitrate, fps, latency, rebuffer] = this.row(i);
    const at = Date.now();
    const third = Math.round(viewers * 0.3);
    return {
      name, state: state === 'ended' ? 'ended' : 'live', protocol: 'rtmp', encoder: 'obs-output module (libobs version 30.1.2)', epoch: '66a3', target_duration: 1, part_target: 0.2,
      viewers, bitrate, reconnects: 1, discontinuities: 0, anomalies: { gap: 3 },
      ingest: { bytes: bitrate / 8, video_frames: fps, audio_frames: 47, keyframes: 1, keyframe_interval_micros: i === 0 && this.gop ? 10e6 : 1e6, grid_millifps: 60000, skew_micros: 12000, scatter_micros: 31000, drift_ppm: 20, rtt_micros: 18000, codecs: ['avc1.640028', 'mp4a.40.2'], dropped: 0 },
      transcode: {
        alignment: 'aligned', passthrough: true, reasons: [], losses: {}, last_loss: null, notes: [],
        renditions: [
          { track: 16, name: '720p', size: [1280, 720], bitrate: 2800000, state: 'running', reason: '' },
          { track: 17, name: '480p', size: [854, 480], bitrate: 1400000, state: 'running', reason: '' },
          { track: 18, name: '360p', size: [640, 360], bitrate: 800000, state: 'asleep', reason: 'nobody watches it' },
        ],
        tick: { frames_in: 60, frames_out: 120, cpu_share: 0.21, preset: 'veryfast', decoder: 'software', encoders: ['software'], rungs: [{ track: 16, frames: 60, bits: 2790000, speed: 3.9 }, { track: 17, frames: 60, bits: 1388000, speed: 6.1 }], sound: [] },
      },
      ...(i === 3 ? WAYS : { sources: [], last_switch: null, push: [] }),
      advice: i === 0 && this.gop ? [{ ...GOP, since: at - 41_000 }] : [], last_end: null, live_since: this.began,
      health: { state, since: at - 65_000, reasons: WHY[state] ? [{ reason: state, severity: state === 'degraded' ? 'warning' : 'critical', text: WHY[state], since: at - 65_000 }] : [] },
      score: score === null ? null : {
        value: score, formula: '100 − rebuffering − start-up − failures − bitrate − source',
        parts: [
          { part: 'rebuffering', most: 40, input: rebuffer, unit: 'ratio', cost: rebuffer * 800, text: `${(rebuffer * 100).toFixed(1)} % of viewing time was waiting` },
          { part: 'start-up', most: 20, input: 1.1, unit: 'seconds', cost: 0.7, text: 'p95 of 1.1 s to the first picture' },
          { part: 'failures', most: 20, input: 0, unit: 'ratio', cost: 0, text: `0 of ${viewers} attempts failed` },
          { part: 'bitrate', most: 10, input: 0.08, unit: 'ratio', cost: 0.8, text: 'viewers play 92 % of the top bitrate' },
          { part: 'source', most: 30, input: null, unit: 'ratio', cost: 0, text: '' },
        ],
      },
      qoe: {
        window: 300, sessions: viewers, started: viewers, failed: 0, left_before_start: 0, startup: { p50: 0.42, p90: 0.8, p95: 1.1 }, rebuffer_ratio: rebuffer, stalls: 31, stalled_sessions: 22,
        stalls_per_hour: 0.4, switches_per_minute: 0.05, oscillating: 0, bitrate: 5600000, latency: { p50: latency, p95: 1.8 }, latency_by: 'player', play_seconds: 340020, stall_seconds: 1360, dropped_frames_ratio: 0.001,
      },
      latency: {
        total: 0.93, measured: true,
        stages: [
          { stage: 'uplink', seconds: 0.009, how: 'half the round trip to the publisher' }, { stage: 'transcode', seconds: 0, how: 'the source passes through' },
          { stage: 'package', seconds: 0.204, how: 'a part of 200 ms, published 4 ms after its last frame' }, { stage: 'relay', seconds: 0.012, how: 'mean from origin to edge' },
          { stage: 'edge', seconds: 0.105, how: 'what is left: network, waiting, decoding' }, { stage: 'player', seconds: 0.6, how: 'buffer that players report' },
        ],
      },
      viewers_by: {
        rendition: [{ name: '1080p', viewers: viewers - third }, { name: '720p', viewers: third }], edge: [{ name: 'edge-a', viewers: viewers - third }, { name: 'edge-b', viewers: third }],
        player: [{ name: 'aqueduct', viewers: viewers - third }, { name: 'cmcd', viewers: third }],
      },
    };
  }

  events(name) {
    const at = Date.now();
    return [
      { at: at - 5_021_000, kind: 'publish', severity: 'info', text: 'A publisher came over RTMP: obs-output module.' },
      { at: at - 5_019_500, kind: 'live', severity: 'info', text: 'Live: the first playlist is out.' },
      { at: at - 900_000, kind: 'discontinuity', severity: 'info', text: 'The publisher returned after 2.1 s; the stream goes on.' },
      { at: at - 65_000, kind: 'health', severity: 'warning', text: `Degraded: ${WHY.degraded}` },
      { at: at - 41_000, kind: 'advice', severity: 'warning', text: GOP.text },
    ].map((event) => ({ ...event, stream: name }));
  }

  overview() {
    const rows = Array.from({ length: this.count }, (_, i) => this.row(i));
    const states = {};
    for (const [, state] of rows) states[state] = (states[state] ?? 0) + 1;
    const viewers = rows.reduce((sum, row) => sum + row[3], 0);
    return {
      node: 'origin-1', role: 'origin', version: '0.1.0', at: Date.now(), uptime: 5021, streams: states, viewers, bitrate_in: rows.reduce((sum, row) => sum + row[4], 0), bitrate_out: viewers * 3.1e6,
      alerts: this.count > 5 ? { warning: 1, critical: 1 } : { warning: 0, critical: 0 }, nodes: { up: 2, draining: 0, gone: 1 }, lost: { events: 0, reports: 0, records: 0 }, cluster: true,
    };
  }

  nodes() {
    const edge = {
      this: false, role: 'edge', version: '0.1.0', seen: Date.now(), viewers: 804, connections: 820, load: 0.45, bitrate_out: 2.48e9, requests: 12300, errors: 0, blocked: 1608, answer_p95: 0.002, shed: 0,
      cache: { hits: 12100, misses: 2, ratio: 0.9998 }, relay: { edges: null, upstreams: 1, lag_p50: 0.008, lag_p95: 0.015, lost: 0 },
    };
    return [
      { ...edge, node: 'origin-1', this: true, role: 'origin', state: 'up', viewers: 12, connections: 14, load: 0.21, bitrate_out: 4e7, requests: 130, blocked: 24, cache: null, relay: { edges: 2, upstreams: null, lag_p50: null, lag_p95: null, lost: 0 }, drain: '/api/v1/nodes/origin-1/drain' },
      { ...edge, node: 'edge-a', state: 'up', drain: '/api/v1/nodes/edge-a/drain' },
      { ...edge, node: 'edge-b', state: 'up', load: 0.93, errors: 310, cache: { hits: 900, misses: 240, ratio: 0.79 }, relay: { ...edge.relay, lag_p50: 0.31, lag_p95: 0.9, lost: 4 }, drain: '/api/v1/nodes/edge-b/drain' },
      { ...edge, node: 'edge-c', state: 'gone', seen: Date.now() - 74_000, drain: null },
    ];
  }

  alerts() {
    if (this.count <= 5) return { active: [], recent: [], rules: [] };
    const at = Date.now();
    const alert = { rule: 'rebuffering', severity: 'warning', until: null, value: 0.031, suppressed_by: null };
    return {
      active: [
        { ...alert, id: 'no-media:stream:live/lecture-hall', rule: 'no-media', severity: 'critical', scope: { kind: 'stream', name: this.name(5) }, since: at - 64_000, text: `${this.name(5)} has sent no media for 64 s: look at its encoder or its network.` },
        { ...alert, id: 'rebuffering:edge:edge-b', scope: { kind: 'edge', name: 'edge-b' }, since: at - 125_000, text: '3.1 % of viewing time at edge-b is waiting (limit 2 %); other edges are well.' },
        { ...alert, id: 'rebuffering:stream:x', scope: { kind: 'stream', name: this.name(5) }, since: at - 60_000, text: `3.4 % of viewing time of ${this.name(5)} is waiting (limit 2 %).`, suppressed_by: 'no-media' },
      ],
      recent: [{ ...alert, id: 'startup:stream:y', rule: 'start-up', scope: { kind: 'stream', name: this.name(1) }, since: at - 3_600_000, until: at - 3_200_000, text: `Half of the viewers of ${this.name(1)} waited 3.4 s for the first picture (limit 3 s).` }],
      rules: [
        { rule: 'rebuffering', severity: 'warning', scope: 'stream', unit: 'ratio', enter: 0.02, exit: 0.014, enter_for: 60, exit_for: 120, least: '50 sessions or 500 minutes played', cooldown: 300 },
        { rule: 'start-up', severity: 'warning', scope: 'stream', unit: 'seconds', enter: 3, exit: 2.4, enter_for: 60, exit_for: 120, least: '50 sessions', cooldown: 300 },
      ],
    };
  }

  sessions(stream) {
    const one = (k) => {
      const slow = k % 4 === 3;
      return { session: (0x5f0c1a2b + k * 7919).toString(16), stream, player: k % 3 ? 'aqueduct' : 'cmcd', edge: slow ? 'edge-b' : 'edge-a', began: this.began, heard: Date.now() - k * 100, state: 'playing', startup: 0.41, play: 203, stall: slow ? 7.1 : 0.2, rebuffer_ratio: slow ? 0.034 : 0.001, stalls: slow ? 5 : 1, switches: 2, bitrate: 5600000, height: k % 5 ? 1080 : 720, latency: 0.9, buffer: 0.58, dropped_frames: 3, outcome: 'playing' };
    };
    return { total: 40, sessions: Array.from({ length: 40 }, (_, k) => one(k)) };
  }

  doctor(i) {
    const stream = this.stream(i);
    const { columns, start } = this.series(i, 60);
    return {
      name: stream.name, at: Date.now(), health: stream.health, headline: stream.advice.length ? 'One thing to change.' : 'All is well.', advice: stream.advice, protocol: 'rtmp', encoder: stream.encoder,
      codecs: stream.ingest.codecs, viewers: stream.viewers, score: 99, live_since: this.began,
      series: { start, step: 1, columns: Object.fromEntries(['bitrate', 'fps', 'keyframe_interval', 'av_skew', 'rtt'].map((name) => [name, columns[name]])) },
    };
  }

  answer(request, path, query) {
    if (path === '/api/v1/session') return request.method === 'DELETE' ? {} : { role: 'admin', login: this.password !== null };
    if (request.method === 'POST' && path.endsWith('/drain')) return this.drained.push(path), {};
    if (path === '/api/v1/overview') return this.overview();
    if (path === '/api/v1/streams') return Array.from({ length: this.count }, (_, i) => this.stream(i));
    if (path === '/api/v1/ports') return { rtmp: 1935, http: 8080, https: 8443 };
    if (path === '/api/v1/nodes') return this.nodes();
    if (path === '/api/v1/alerts') return this.alerts();
    if (path === '/api/v1/events') return this.count ? this.events(this.name(0)) : [];
    const found = /^\/(?:api\/v1\/streams|doctor)\/([^/]+\/[^/]+)(?:\/(\w+)(?:\.json)?)?$/.exec(path);
    const i = found ? Array.from({ length: this.count }, (_, k) => this.name(k)).indexOf(found[1]) : -1;
    if (i < 0) return null;
    if (path.startsWith('/doctor')) return this.doctor(i);
    switch (found[2]) {
      case undefined: return this.stream(i);
      case 'series': return this.series(i, Math.min(900, Number(query.get('last') ?? 900)));
      case 'events': return this.events(found[1]);
      case 'sessions': return this.sessions(found[1]);
      default: return null;
    }
  }

  live(response, query) {
    const wanted = query.get('stream');
    const index = wanted ? Array.from({ length: this.count }, (_, k) => this.name(k)).indexOf(wanted) : -1;
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const say = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const beat = (all) => {
      say('streams', { at: Date.now(), all, rows: Array.from({ length: this.count }, (_, i) => this.row(i)), gone: [] });
      say('overview', this.overview());
      if (index >= 0) {
        say('second', { at: Math.floor(Date.now() / 1000), values: this.second(index, Date.now()) });
        say('stream', this.stream(index));
      }
    };
    say('hello', { at: Date.now(), node: 'origin-1', role: 'admin', columns: COLUMNS, series: SERIES });
    beat(true);
    say('nodes', this.nodes());
    say('alerts', { active: this.alerts().active });
    const timer = setInterval(() => beat(false), 1000);
    response.on('close', () => clearInterval(timer));
  }

  async page(response, path) {
    const file = extname(path) ? path : path.startsWith('/doctor/') ? '/doctor.html' : '/dashboard.html';
    try {
      const body = await readFile(DIST + file);
      response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  async start(port = 0) {
    this.server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url, 'http://localhost');
      if (this.deaf) return request.socket.destroy();
      const api = pathname.startsWith('/api/') || pathname.endsWith('.json');
      if (!api) return this.page(response, pathname);
      const key = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
      const cookie = request.headers.cookie ?? '';
      if (this.password !== null && !cookie.includes(`in=${this.password}`) && key !== this.password) {
        if (pathname === '/api/v1/session' && request.method === 'POST') return this.login(request, response);
        return response.writeHead(401, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error: 'A password is asked for here.', login: true }));
      }
      if (pathname === '/api/v1/live') return this.streaming ? this.live(response, searchParams) : response.writeHead(502).end();
      const answer = this.answer(request, pathname, searchParams);
      const status = answer === null ? 404 : request.method === 'POST' ? 202 : 200;
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer ?? { error: 'There is no such stream; /api/v1/streams lists those that are.' }));
    });
    await new Promise((done) => this.server.listen(port, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async login(request, response) {
    let body = '';
    for await (const chunk of request) body += chunk;
    const right = JSON.parse(body).password === this.password;
    response.writeHead(right ? 200 : 401, { 'Content-Type': 'application/json', ...(right ? { 'Set-Cookie': `in=${this.password}; Path=/` } : {}) });
    response.end(JSON.stringify(right ? { role: 'admin', login: true } : { error: 'This is not the password.', login: true }));
  }

  /** Every connection breaks and none is answered, until it is heard again. */
  hush(deaf) {
    this.deaf = deaf;
    if (deaf) this.server.closeAllConnections();
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}
