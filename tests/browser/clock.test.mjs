import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './chromium.mjs';
import { cells, decode, since, watchClock } from './clock.mjs';
import { describe, percentile } from './summary.mjs';

const lumas = (bits) => bits.map((bit) => (bit ? 235 : 16));

test('what is written is read back', () => {
  for (const millis of [0, 1, 0x80000000, 0xffffffff, 1_795_000_000_123]) {
    assert.equal(decode(lumas(cells(millis))), millis % 2 ** 32);
  }
});

test('one wrong cell makes a frame unreadable', () => {
  const bits = cells(1_795_000_000_123);
  for (const wrong of [0, 31, 32, 63]) {
    assert.equal(decode(lumas(bits.map((bit, i) => (i === wrong ? !bit : bit)))), null);
  }
});

test('differences hold across the wrap', () => {
  assert.equal(since(2 ** 32 - 100, 5 * 2 ** 32 + 50), 150);
  assert.equal(since(50, 5 * 2 ** 32 - 100), -150);
});

test('percentiles and minutes', () => {
  assert.equal(percentile([], 0.5), null);
  assert.equal(percentile([3, 1, 2], 0.5), 2);
  const series = Array.from({ length: 200 }, (_, i) => ({ at: i * 1000, value: i < 100 ? 1 : 2 }));
  const told = describe(series);
  assert.equal(told.firstMinute, 1);
  assert.equal(told.lastMinute, 2);
  assert.equal(told.samples, 200);
});

let browser;
before(async () => (browser = await launch()));
after(async () => browser?.close());

/** Plays a canvas whose clock is `behind` milliseconds slow, and returns what the reader makes of it. */
async function readCanvas(behind) {
  const page = await browser.newPage();
  await page.evaluate(
    ({ code, behind }) => {
      const { cells } = new Function(`${code}; return { cells };`)();
      const canvas = document.createElement('canvas');
      canvas.width = 640;
      canvas.height = 360;
      const context = canvas.getContext('2d');
      const draw = () => {
        context.fillStyle = '#777';
        context.fillRect(0, 0, 640, 360);
        cells(Date.now() - behind).forEach((bit, i) => {
          context.fillStyle = bit ? '#fff' : '#000';
          context.fillRect((i % 32) * 20, i < 32 ? 0 : 15, 20, 15);
        });
        requestAnimationFrame(draw);
      };
      draw();
      const video = document.createElement('video');
      video.muted = true;
      video.srcObject = canvas.captureStream(30);
      document.body.append(video);
      window.video = video;
      return video.play();
    },
    { code: `const BITS = 32; ${cells}`, behind },
  );
  await page.evaluate(`window.found = (${watchClock})(video, { decode: ${decode}, since: ${since}, every: 50 })`);
  await page.waitForFunction(() => window.found.samples.length >= 15);
  const found = await page.evaluate(() => window.found);
  await page.close();
  return found;
}

test('a browser reads the clock off its screen', async () => {
  for (const behind of [0, 700]) {
    const found = await readCanvas(behind);
    const middle = percentile(found.samples.map(({ delay }) => delay), 0.5);
    assert.ok(Math.abs(middle - behind) < 150, `read ${middle} ms for a picture ${behind} ms old`);
    assert.ok(found.unreadable <= 2, `${found.unreadable} unreadable`);
  }
});
