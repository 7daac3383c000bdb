#!/usr/bin/env node
// Plays sessions with stalls planted in them, and compares what the server makes of them with what their own pages
// measured: start-up to 50 ms, stalls exactly, share of waiting to 0.2 points; before them, one without stalls, whose clock
// (burnt into the picture, read back from a canvas) stands beside the sum of the latencies of all stages, to 100 ms. Prints a
// table, and one JSON object with --json. Exit code 0: all within, 1: one is not, 2: wrong usage. About nine minutes; no
// part of `make test`.
//
//   node sessions.mjs [--server FILE] [--sessions 20] [--seconds 20] [--players page,hls,shaka] [--json]
//
// `page` is ours, by its beacon; `hls` and `shaka` are stock hls.js and Shaka Player with CMCD version 2 events. Players that
// speak version 1 cannot say how long a stall was, so nothing is compared of them. Stalls are planted by starving the network, drawn anew for
// each session from a fixed seed; the server is started here with the demo's picture, on ports of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
const STARTUP_MS = 50;
const RATIO_POINTS = 0.2;
const LATENCY_MS = 100;
/** How long the server may take to be ready, and a session to be known to it (milliseconds). */
const PATIENCE = 30_000;
/** A page that was left says no more after so long (milliseconds). */
const LAST_WORDS = 1_500;
const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

function options() {
  try {
    const { values } = parseArgs({
      options: {
        server: { type: 'string', default: join(HERE, '../../target/release/aqueduct') },
        sessions: { type: 'string', default: '20' },
        seconds: { type: 'string', default: '20' },
        players: { type: 'string', default: 'page,hls,shaka' },
        json: { type: 'boolean', default: false },
      },
    });
    const players = values.players.split(',');
    if (!players.every((player) => ['page', 'hls', 'shaka'].includes(player))) throw new Error('--players wants page, hls, shaka, or several');
    if (!(Number(values.sessions) > 0 && Number(values.seconds) >= 10)) throw new Error('--sessions from 1, --seconds from 10');
    return { ...values, players, sessions: Number(values.sessions), seconds: Number(values.seconds) };
  } catch (error) {
    console.error(`${error.message}\nusage: node sessions.mjs [--server FILE] [--sessions N] [--seconds N] [--players page,hls,shaka] [--json]`);
    return process.exit(2);
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** The demo: a server, and a clock picture that is pushed to live/show. */
async function start(program) {
  const data = await mkdtemp(join(tmpdir(), 'aqueduct-sessions-'));
  const [rtmp, http, admin] = await Promise.all([freePort(), freePort(), freePort()]);
  const settings = {
    'ingest.rtmp.listen': `127.0.0.1:${rtmp}`,
    'edge.http.listen': `127.0.0.1:${http}`,
    'admin.listen': `127.0.0.1:${admin}`,
    'edge.https.listen': 'off',
    'ingest.rtsp_server.listen': '',
    'transcode.mode': 'off',
    data_dir: data,
  };
  const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const child = spawn(resolve(program), ['demo', '--log', 'warn', ...set], { stdio: ['ignore', 'ignore', 'inherit'] });
  const failed = once(child, 'error').then(([error]) => Promise.reject(error));
  const server = { http: `http://127.0.0.1:${http}`, admin: `http://127.0.0.1:${admin}`, child, data };
  await Promise.race([failed, ready(server)]);
  failed.catch(() => undefined);
  return server;
}

async function ready({ http, child }) {
  for (const until = Date.now() + PATIENCE; Date.now() < until; await sleep(200)) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const answer = await fetch(`${http}/live/show/index.m3u8`).catch(() => null);
    if (answer?.ok) return;
  }
  throw new Error('the demo did not come on air');
}

async function stop({ child, data }) {
  child.kill('SIGTERM');
  if (child.exitCode === null) await once(child, 'exit');
  await rm(data, { recursive: true, force: true });
}

/** Numbers from 0 to 1, the same in every run. */
function* draws(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** None to three cuts, each with room before it for the buffer to fill again. */
function cuts(random, seconds) {
  const draw = () => random.next().value;
  const count = Math.floor(draw() * 4);
  const step = ((seconds - 2) * 1000) / Math.max(1, count);
  return Array.from({ length: count }, (_, n) => [
    Math.round(2000 + n * step + draw() * step * 0.2),
    Math.round(1200 + draw() * Math.min(2000, step * 0.4)),
  ]);
}

/** One session in a browser of its own: what its page measured. */
async function play(server, player, n, seconds, planted, further = ['--settle', '0']) {
  const url = player === 'page' ? `${server.http}/watch/live/show` : `${server.http}/live/show/index.m3u8`;
  const more = player === 'page' ? [] : ['--cmcd', 'events', '--sid', `n${n}-of-${player}`];
  if (planted.length > 0) more.push('--starve', planted.map((cut) => cut.join(':')).join(','));
  const args = ['play.mjs', '--url', url, '--player', player, '--seconds', String(seconds), ...further, ...more];
  const child = spawn(process.execPath, args, { cwd: HERE, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (piece) => (text += piece));
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`play.mjs ended with ${code}: ${text}`);
  const seen = JSON.parse(text);
  // Our page's own account where there is one, else what was seen from outside.
  const { stalls, stallSeconds } = seen.stats ?? seen;
  return { startup: seen.firstPictureMillis / 1000, stalls, stall: stallSeconds, play: seen.playedSeconds, glass: seen.glassToScreen?.p50 };
}

/** What the server says of the session that began last, once its last words are in. */
async function told(server, player, since) {
  const wanted = player === 'page' ? 'aqueduct' : 'cmcd';
  let before = null;
  for (const until = Date.now() + PATIENCE; Date.now() < until; await sleep(LAST_WORDS)) {
    const { sessions } = await (await fetch(`${server.admin}/api/v1/streams/live/show/sessions`)).json();
    const found = sessions.find((one) => one.player === wanted && one.heard >= since && one.state !== 'starting');
    if (found && found.heard === before) return found;
    before = found?.heard ?? null;
  }
  throw new Error(`the server has not heard of the session of ${player}`);
}

/** What the server says of the stream's latency, its stages' sum, until `over`: the median, in seconds. */
async function stages(server, over) {
  const sums = [];
  let watching = true;
  const done = over.finally(() => (watching = false));
  while (watching) {
    await Promise.race([done, sleep(1000)]).catch(() => undefined);
    const { latency } = await (await fetch(`${server.admin}/api/v1/streams/live/show`)).json();
    if (latency?.measured) sums.push(latency.stages.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0));
  }
  // Until the first reports have settled, the player's share is that of its start.
  const settled = sums.slice(Math.floor(sums.length / 2)).sort((a, b) => a - b);
  return settled[Math.floor(settled.length / 2)] ?? null;
}

/** A viewer who only watches: what its canvas says of the latency, beside the stages. */
async function compareLatency(server, seconds) {
  const playing = play(server, 'page', 0, seconds, [], ['--clock', '--settle', '5']);
  const told = await stages(server, playing);
  const { glass } = await playing;
  const off = told === null ? null : (told - glass) * 1000;
  return { glass, told, off, good: off !== null && Math.abs(off) <= LATENCY_MS };
}

/** A row of the table, and whether each figure is within. */
function compare(player, planted, seen, session) {
  const share = (part, rest) => (part + rest > 0 ? part / (part + rest) : 0);
  const off = {
    startup: session.startup === null ? null : (session.startup - seen.startup) * 1000,
    stalls: session.stalls - seen.stalls,
    points: ((session.rebuffer_ratio ?? 0) - share(seen.stall, seen.play)) * 100,
  };
  // These say nothing when they are left: of their last seconds only the waiting can be compared.
  if (player !== 'page') off.points = ((session.stall - seen.stall) / (seen.stall + seen.play)) * 100;
  // CMCD has no word for the wish to play: its start-up begins with its first request, which the page's clock does not see.
  const startup = player === 'page' ? off.startup !== null && Math.abs(off.startup) <= STARTUP_MS : true;
  const good = startup && off.stalls === 0 && Math.abs(off.points) <= RATIO_POINTS;
  return { player, planted, seen, session, off, good };
}

function line(n, { player, planted, seen, session, off, good }) {
  const fixed = (value, digits) => (value === null ? '–' : value.toFixed(digits));
  return [
    String(n).padStart(2),
    player.padEnd(5),
    `starved ${planted.length} times`,
    `start-up ${fixed(seen.startup, 3)} s (${fixed(off.startup, 0)} ms off)`,
    `stalls ${seen.stalls}/${session.stalls}`,
    `waiting ${fixed(seen.stall, 2)} of ${fixed(seen.stall + seen.play, 2)} s (${fixed(off.points, 2)} points off)`,
    good ? 'within' : 'NOT WITHIN',
  ].join('  ');
}

async function main() {
  const want = options();
  const server = await start(want.server);
  const random = draws(2026);
  const rows = [];
  let latency;
  try {
    latency = await compareLatency(server, Math.max(want.seconds, 30));
    const { glass, told, off, good } = latency;
    if (!want.json) {
      const how = off === null ? 'nothing was told' : `${told.toFixed(3)} s told, ${off.toFixed(0)} ms off`;
      console.log(`latency  ${glass?.toFixed(3)} s from glass to screen by the clock, ${how}  ${good ? 'within' : 'NOT WITHIN'}`);
    }
    for (let n = 0; n < want.sessions; n += 1) {
      const player = want.players[n % want.players.length];
      const planted = cuts(random, want.seconds);
      const since = Date.now();
      const seen = await play(server, player, n, want.seconds, planted);
      rows.push(compare(player, planted, seen, await told(server, player, since)));
      if (!want.json) console.log(line(n + 1, rows.at(-1)));
    }
  } finally {
    await stop(server);
  }
  const good = rows.filter((row) => row.good).length;
  console.log(want.json ? JSON.stringify({ latency, rows }, null, 2) : `${good} of ${rows.length} sessions within`);
  return good === rows.length && latency.good ? 0 : 1;
}

process.exitCode = await main();
