#!/usr/bin/env node
// Opens a stream in Chromium, watches it for a while, and prints what a viewer saw as one JSON object.
//
//   node play.mjs --url URL --player page|hls|shaka --seconds N [--settle N] [--clock] [--screenshot FILE.png]
//                 [--width N --height N] [--scheme light|dark] [--trace FILE.json] [--verbose] [--pages DIR]
//
// `--pages` takes the page and its assets from a folder (web/dist) instead of those built into the server.
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
      },
    });
    if (!values.url) usage('--url is missing');
    if (!['page', 'hls', 'shaka'].includes(values.player)) usage(`--player ${values.player} is not known`);
    for (const key of ['seconds', 'settle', 'width', 'height']) {
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
  await page.addInitScript(`(${probe})();`);
  return page;
}

/** Looks at the page until it has played for `seconds` since its first picture, or never showed one. */
async function observe(page, seconds) {
  const samples = [];
  const opened = Date.now();
  let pictureAt = null;
  for (;;) {
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
    stats: result.stats,
    errors: [...result.errors, ...said],
    fatal: result.fatal,
  };
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

async function main() {
  const want = options();
  const pages = await serve();
  const browser = await launch();
  const said = [];
  try {
    const page = await prepare(browser, want, said);
    const target = want.player === 'page' ? want.url : `${pages.origin}/stock-${want.player}.html?url=${encodeURIComponent(want.url)}`;
    await page.goto(target, { waitUntil: 'commit' });
    const samples = await observe(page, Number(want.seconds));
    const result = await page.evaluate(() => window.probe.result());
    if (want.screenshot) await page.screenshot({ path: want.screenshot });
    if (want.trace) await writeFile(want.trace, JSON.stringify({ samples, clock: result.clock }));
    const told = report(want, samples, result, said);
    console.log(JSON.stringify(told, null, 2));
    return told.fatal === null && told.firstPictureMillis !== null ? 0 : 1;
  } finally {
    await browser.close();
    await pages.close();
  }
}

process.exitCode = await main();
