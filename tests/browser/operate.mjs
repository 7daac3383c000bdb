#!/usr/bin/env node
// Looks at one stream as its operator and as its streamer do, on a real server's pages. Prints a line of JSON for each
// thing that it has seen: `listed`, `charted`, `advised`, `cured`. Exit code: 0 it saw them all, 1 it did not, 2 wrong usage.
//
//   node operate.mjs --admin ORIGIN --stream APP/NAME [--doctor ORIGIN] [--shots FOLDER]
//
// Without `--doctor` it ends after `charted`. Between `advised` and `cured` somebody has to cure the stream.
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { launch } from './chromium.mjs';

const { values } = parseArgs({
  options: { admin: { type: 'string' }, stream: { type: 'string' }, doctor: { type: 'string' }, shots: { type: 'string' } },
});
if (!values.admin || !values.stream) {
  console.error('usage: node operate.mjs --admin ORIGIN --stream APP/NAME [--doctor ORIGIN] [--shots FOLDER]');
  process.exit(2);
}

const PATIENCE = 45_000;
const say = (step, seen) => console.log(JSON.stringify({ step, ...seen }));
const shot = async (page, name) => values.shots && page.screenshot({ path: `${values.shots}/${name}.png` });
/** Waits until a figure is another one than it was, and gives both. */
async function moves(page, selector) {
  const was = await page.locator(selector).first().innerText();
  await page.waitForFunction(([selector, was]) => document.querySelector(selector).innerText !== was, [selector, was]);
  return [was, await page.locator(selector).first().innerText()];
}

async function list(page) {
  await page.goto(values.admin);
  const line = page.locator('.line', { hasText: values.stream });
  await line.waitFor();
  await page.waitForFunction(() => document.querySelector('.line .thumb img')?.naturalWidth > 0);
  await page.locator('.pill.link', { hasText: 'Live' }).waitFor();
  const rate = await moves(page, '.line .rate');
  const picture = await page.evaluate(() => document.querySelector('.line .thumb img').naturalWidth);
  await shot(page, 'list');
  say('listed', { state: await line.locator('.pill').first().innerText(), rate, picture, attention: await page.locator('.attention').innerText() });
}

async function stream(page) {
  await page.getByRole('link', { name: values.stream, exact: true }).last().click();
  await page.locator('.chart canvas').nth(11).waitFor();
  const bitrate = await moves(page, '.chart output');
  const figures = Object.fromEntries(
    await page.locator('.chart').evaluateAll((charts) => charts.map((chart) => [chart.ariaLabel, chart.querySelector('output').innerText])),
  );
  await shot(page, 'stream');
  say('charted', { bitrate, figures, events: await page.locator('.timeline li').allInnerTexts() });
}

async function doctor(page) {
  await page.setViewportSize({ width: 300, height: 700 });
  await page.goto(`${values.doctor}/doctor/${values.stream}`);
  const advice = page.locator('.advice', { hasText: 'The keyframe interval is' });
  await advice.waitFor();
  await shot(page, 'doctor');
  say('advised', { text: await advice.innerText(), wider: await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) });
  await advice.waitFor({ state: 'detached' });
  await page.locator('main[data-tone="good"], main[data-tone="warn"]').waitFor();
  say('cured', { headline: await page.locator('h1').innerText(), left: await page.locator('.advice').allInnerTexts() });
}

const browser = await launch(values.admin);
const thrown = [];
try {
  if (values.shots) await mkdir(values.shots, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', (error) => thrown.push(error.message));
  await list(page);
  await stream(page);
  if (values.doctor) await doctor(page);
} catch (error) {
  thrown.push(error.message);
} finally {
  await browser.close();
}
if (thrown.length) {
  console.error(thrown.join('\n'));
  process.exit(1);
}
