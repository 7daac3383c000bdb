#!/usr/bin/env node
// Plays streams of a clip that flashes and beeps in stock hls.js, all in one page, and prints how much later each one's
// beeps are heard than its flashes are seen, as one JSON object.
//
//   node in-step.mjs --clip FILE.mp4 [--pairs N] [--patience SECONDS] [--trust CERT.pem] NAME=URL …
//
// The clip itself plays beside them: what is late of it is the browser's own doing, and is taken off. It goes on until each stream has
// shown N pairs (7) of flash and beep after its first three seconds. Many streams of one server want an https:// URL, whose certificate
// `--trust` believes: over HTTP/1.1 a browser opens six connections, which held requests fill. Exit code: 0 nothing was
// fatal: how many pairs there are is for whoever asked.
import { parseArgs } from 'node:util';
import { launch } from './chromium.mjs';
import { serve } from './serve.mjs';

const SETTLE = 3_000;

async function main() {
  const { values: want, positionals: streams } = parseArgs({
    allowPositionals: true,
    options: {
      clip: { type: 'string' },
      pairs: { type: 'string', default: '7' },
      patience: { type: 'string', default: '60' },
      trust: { type: 'string' },
    },
  });
  if (!want.clip || streams.length === 0 || !streams.every((stream) => stream.includes('='))) {
    console.error('usage: node in-step.mjs --clip FILE.mp4 [--pairs N] [--patience SECONDS] [--trust CERT.pem] NAME=URL …');
    return 2;
  }
  const pages = await serve({ '/clip.mp4': want.clip });
  const browser = await launch(pages.origin, undefined, want.trust);
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
    page.on('pageerror', (error) => console.error(`uncaught: ${error.message}`));
    const query = streams.map((stream) => `stream=${encodeURIComponent(stream)}`).join('&');
    await page.goto(`${pages.origin}/in-step.html?${query}`);
    const until = async (pairs, patience) =>
      page.waitForFunction((pairs) => window.enough?.(pairs), pairs, { timeout: patience, polling: 200 }).then(
        () => true,
        () => false,
      );
    await until(1, Number(want.patience) * 1000);
    await new Promise((resolve) => setTimeout(resolve, SETTLE));
    await page.evaluate(() => window.anew());
    await until(Number(want.pairs), Number(want.patience) * 1000);
    const { clip, ...told } = await page.evaluate(() => window.told());
    for (const stream of Object.values(told)) {
      stream.late = stream.late === null || clip.late === null ? null : Math.round(10 * (stream.late - clip.late)) / 10;
    }
    console.log(JSON.stringify({ clip, streams: told }, null, 2));
    return Object.values(told).every(({ fatal }) => fatal === null) ? 0 : 1;
  } finally {
    await browser.close();
    await pages.close();
  }
}

process.exitCode = await main();
