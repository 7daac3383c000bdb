#!/usr/bin/env node
// Opens a stream in Chromium, watches it for a while, and prints what a viewer saw as one JSON object.
//
//   node play.mjs --url URL --player page|hls|shaka --seconds N [--settle N] [--clock] [--screenshot FILE.png]
//                 [--width N --height N] [--scheme light|dark] [--trace FILE.json] [--verbose] [--pages DIR]
//                 [--switch SECONDS] [--h3 CERT.pem | --trust CERT.pem] [--cmcd query|headers|events] [--freeze AT:FOR,…]
//                 [--sid NAME] [--starve AT:FOR,…]
//
// `--switch` forces another rendition so often, up and down in turn through all of them (player `hls`).
// `--cmcd` has a stock player report itself: on its requests, or by events of version 2 to the stream's `beacon`.
// `--sid` names its session (player `hls` with events).
// `--freeze` cuts the network: so many milliseconds after the first picture, for so many. `--starve` lets next to nothing come
// in its stead, and everything go, so that what players report of it is heard.
// `--h3` loads URL over HTTP/3 and nothing else, from a server with this certificate; the result says what came over which
// protocol. `--trust` believes that certificate, without HTTP/3, and tells the same. `--pages` takes the page and its assets from a folder (web/dist) instead of those built into the server.
// URL is the watch page for `page` and the multivariant playlist for the stock players. Latencies count from
// `settle` seconds (10) after the first picture. Exit code: 0 it played, 1 it did not, 2 wrong usage.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { launch } from './chromium.mjs';
import { decode, since, watchClock } from './clock.mjs';
import { probe } from './probe.mjs';
import { serve } from './serve.mjs';
import { describe } from './summary.mjs';

const SAMPLE_EVERY = 250;
const CLOCK_EVERY = 200;
/** Time for the first picture (milliseconds): a page may wait for a stream that is about to start. */
const PATIENCE = 30_000;

function usage(problem) {
  console.error(`${problem}\nusage: node play.mjs --url URL --player page|hls|shaka --seconds N [--clock] [--screenshot FILE]`);
  process.exit(2);
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        url: { type: 'string' },
        player: { type: 'string', default: 'page' },
        seconds: { type: 'string', default: '30' },
        settle: { type: 'string', default: '10' },
        clock: { type: 'boolean', default: false },
        screenshot: { type: 'string' },
        trace: { type: 'string' },
        width: { type: 'string', default: '1280' },
        height: { type: 'string', default: '720' },
        pages: { type: 'string' },
        scheme: { type: 'string', default: 'light' },
        verbose: { type: 'boolean', default: false },
        switch: { type: 'string', default: '0' },
        h3: { type: 'string' },
        cmcd: { type: 'string', default: '' },
        freeze: { type: 'string', default: '' },
        starve: { type: 'string', default: '' },
        sid: { type: 'string', default: '' },
        trust: { type: 'string' },
      },
    });
    if (!values.url) usage('--url is missing');
    if (!['page', 'hls', 'shaka'].includes(values.player)) usage(`--player ${values.player} is not known`);
    if (Number(values.switch) > 0 && values.player !== 'hls') usage('--switch wants --player hls');
    for (const key of ['seconds', 'settle', 'width', 'height', 'switch']) {
      if (!(Number(values[key]) >= 0)) usage(`--${key} wants a number`);
    }
    return values;
  } catch (error) {
    return usage(error.message);
  }
}

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** A page with the probe (and the clock reader, if asked for) in it before anything of its own runs. */
async function prepare(browser, want, said) {
  const context = await browser.newContext({
    viewport: { width: Number(want.width), height: Number(want.height) },
    colorScheme: want.scheme,
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => said.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    if (want.verbose) console.error(`[${message.type()}] ${message.text()}`);
  });
  if (want.pages) {
    const file = (url) => (url.pathname.startsWith('/assets/') ? url.pathname : '/watch.html');
    await page.route(
      (url) => /^\/(assets|watch)\//.test(url.pathname),
      (route) => route.fulfill({ path: want.pages + file(new URL(route.request().url())) }),
    );
  }
  if (want.clock) {
    const parts = `{ decode: ${decode}, since: ${since}, every: ${CLOCK_EVERY} }`;
    await page.addInitScript(`window.readClock = (video) => (${watchClock})(video, ${parts});`);
  }
  // The browser forgets what it loaded after 250 entries otherwise.
  if (want.h3 || want.trust) await page.addInitScript('performance.setResourceTimingBufferSize(100_000);');
  await page.addInitScript(`(${probe})();`);
  return page;
}

/** Up and down through all renditions: 0, 1, 2, 1, 0, 1 …; the `turn`th of `levels`. */
function upAndDown(turn, levels) {
  const period = Math.max(1, 2 * (levels - 1));
  return Math.min(turn % period, period - (turn % period));
}

/**
 * Looks at the page until it has played for `seconds` since its first picture, or never showed one. With `every`
 * seconds it forces the next rendition so often.
 */
async function observe(page, seconds, every) {
  const samples = [];
  const opened = Date.now();
  let pictureAt = null;
  let turns = 0;
  for (;;) {
    if (every > 0 && pictureAt !== null && Date.now() - pictureAt >= (turns + 1) * every * 1000) {
      turns += 1;
      const levels = await page.evaluate(() => window.player.levels());
      await page.evaluate((level) => window.player.choose(level), upAndDown(turns, levels));
    }
    const sample = await page.evaluate(() => window.probe?.sample() ?? null);
    if (sample) samples.push(sample);
    if (pictureAt === null && sample && sample.playhead > 0) pictureAt = Date.now();
    if (pictureAt === null && Date.now() - opened > PATIENCE) return samples;
    if (pictureAt !== null && Date.now() - pictureAt >= seconds * 1000) return samples;
    await sleep(SAMPLE_EVERY);
  }
}

function report(want, samples, result, said) {
  const settled = (result.firstPictureMillis ?? Infinity) + Number(want.settle) * 1000;
  const series = (pick) =>
    samples
      .filter((sample) => sample.at >= settled && pick(sample) !== null)
      .map((sample) => ({ at: sample.at, value: pick(sample) }));
  const clock = result.clock;
  return {
    player: want.player,
    url: want.url,
    firstPictureMillis: result.firstPictureMillis === null ? null : Math.round(result.firstPictureMillis),
    liveToPictureMillis: result.stats?.liveToPictureMillis ?? null,
    stalls: result.stalls.length,
    stallsSettled: result.stalls.filter((at) => at >= settled).length,
    stallSeconds: Math.round(result.stallSeconds * 1000) / 1000,
    longestStall: Math.round(result.longestStall * 1000) / 1000,
    playedSeconds: played(samples),
    latency: describe(series((sample) => sample.latency)),
    buffer: describe(series((sample) => sample.buffer)),
    rate: describe(series((sample) => sample.rate)),
    glassToScreen: clock && {
      ...describe(clock.samples.filter(({ at }) => at >= settled).map(({ at, delay }) => ({ at, value: delay / 1000 }))),
      unreadable: clock.unreadable,
    },
    droppedFrames: result.droppedFrames,
    totalFrames: result.totalFrames,
    width: result.width,
    height: result.height,
    shown: result.shown && tally(result.shown),
    stats: result.stats,
    errors: [...result.errors, ...said],
    fatal: result.fatal,
  };
}

/** How many switches there were, and how often each rendition came on screen, by its height. */
function tally(shown) {
  const heights = {};
  for (const height of shown) heights[height] = (heights[height] ?? 0) + 1;
  return { switches: Math.max(0, shown.length - 1), heights };
}

/** Seconds that the playhead moved forward while it played; seeks do not count. */
function played(samples) {
  let sum = 0;
  for (let i = 1; i < samples.length; i += 1) {
    const moved = samples[i].playhead - samples[i - 1].playhead;
    const passed = (samples[i].at - samples[i - 1].at) / 1000;
    if (moved > 0 && moved < passed * 1.5 + 0.3) sum += moved;
  }
  return Math.round(sum * 100) / 100;
}

const FREE = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
const CUT = { ...FREE, offline: true };
/** Bytes a second. */
const STARVED = { ...FREE, downloadThroughput: 500 };

/** Cuts the network again and again, after the first picture. */
async function spoil(page, times, conditions) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Network.enable');
  await page.waitForFunction(() => window.probe?.result().firstPictureMillis !== null, null, { timeout: PATIENCE });
  const began = Date.now();
  for (const [at, length] of times) {
    await sleep(Math.max(0, began + at - Date.now()));
    await cdp.send('Network.emulateNetworkConditions', conditions);
    await sleep(length);
    await cdp.send('Network.emulateNetworkConditions', FREE);
  }
}

/** How many media files and playlists came over which protocol. Runs in the page. */
function protocols() {
  const counts = {};
  const media = ({ name }) => /\.(m4s|mp4|m3u8)$/.test(new URL(name).pathname);
  for (const { nextHopProtocol } of performance.getEntriesByType('resource').filter(media)) {
    // A request that was given up, or whose answer never came, was carried by none.
    if (nextHopProtocol) counts[nextHopProtocol] = (counts[nextHopProtocol] ?? 0) + 1;
  }
  return counts;
}

async function main() {
  const want = options();
  const pages = await serve();
  const browser = await launch(want.url, want.h3, want.trust);
  const said = [];
  try {
    const page = await prepare(browser, want, said);
    const target = want.player === 'page' ? want.url : `${pages.origin}/stock-${want.player}.html?url=${encodeURIComponent(want.url)}&cmcd=${want.cmcd}${want.sid && `&sid=${encodeURIComponent(want.sid)}`}${want.verbose ? '&debug' : ''}`;
    await page.goto(target, { waitUntil: 'commit' });
    const cuts = want.freeze || want.starve;
    const times = cuts.split(',').map((cut) => cut.split(':').map(Number));
    const spoilt = cuts ? spoil(page, times, want.starve ? STARVED : CUT) : undefined;
    const samples = await observe(page, Number(want.seconds), Number(want.switch));
    await spoilt;
    const result = await page.evaluate(() => ({ ...window.probe.result(), shown: window.player?.shown ?? null }));
    if (want.screenshot) await page.screenshot({ path: want.screenshot });
    if (want.trace) await writeFile(want.trace, JSON.stringify({ samples, clock: result.clock }));
    const told = report(want, samples, result, said);
    if (want.h3 || want.trust) told.protocols = await page.evaluate(protocols);
    // Leaves the page as a viewer does, so that it says goodbye.
    await page.goto('about:blank');
    console.log(JSON.stringify(told, null, 2));
    return told.fatal === null && told.firstPictureMillis !== null ? 0 : 1;
  } finally {
    await browser.close();
    await pages.close();
  }
}

process.exitCode = await main();
