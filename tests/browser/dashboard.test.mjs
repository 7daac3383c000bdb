// The operator's pages and the doctor in a real browser, before a port that shows what real servers cannot be made to
// show in a test. `npm run build` in web/ comes first.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch } from './chromium.mjs';
import { Operator } from './operator.mjs';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const DESK = { width: 1360, height: 900 };
const PHONE = { width: 390, height: 844 };
const DOCK = { width: 300, height: 700 };

let browser;
before(async () => (browser = await launch()));
after(async () => browser?.close());

/** A page before an operator's port; both go with the test, which fails for whatever the page throws. */
async function open(t, path, { viewport = DESK, colorScheme = 'light', ...want } = {}) {
  const operator = await new Operator(want).start();
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const thrown = [];
  page.on('pageerror', (error) => thrown.push(error.message));
  t.after(async () => {
    await context.close();
    await operator.stop();
    assert.deepEqual(thrown, []);
  });
  await page.goto(operator.origin + path);
  return { page, operator };
}

const text = (page, selector) => page.locator(selector).first().innerText();

test('five hundred streams: the worst first, few rows in the page, and each figure moves', async (t) => {
  const { page } = await open(t, '/', { streams: 500 });
  await page.locator('.line').first().waitFor();
  assert.match(await text(page, '.attention'), /live\/lecture-hall has sent no media for 64 s/);
  assert.match(await text(page, '.attention'), /edge-c/);
  assert.equal(await text(page, '.line a'), 'live/lecture-hall');
  assert.ok((await page.locator('.line').count()) < 60);
  const told = await text(page, '.line:nth-child(5) .rate');
  await page.waitForFunction((was) => document.querySelector('.line:nth-child(5) .rate').innerText !== was, told);
  // A second's news for 500 streams leaves the page time for its operator.
  const busiest = await page.evaluate(
    () => new Promise((done) => {
      let most = 0;
      new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (most = Math.max(most, duration)))).observe({ entryTypes: ['longtask'] });
      setTimeout(() => done(most), 3000);
    }),
  );
  t.diagnostic(`longest task ${busiest} ms`);
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await page.locator('.line[aria-rowindex="501"]').waitFor();
  assert.ok((await page.locator('.line').count()) < 60);
});

test('by keyboard: find a stream, go to it, and come back', async (t) => {
  const { page } = await open(t, '/', { streams: 40 });
  await page.locator('.line').first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('news');
  await page.waitForFunction(() => document.querySelectorAll('.line').length === 3);
  await page.locator('.line a').first().focus();
  await page.keyboard.press('ArrowDown');
  const second = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press('Enter');
  await page.locator('h1', { hasText: second }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/streams/${second}`);
  await page.goBack();
  await page.locator('.line').first().waitFor();
});

test("a stream's page: why it suffers, charts that move, what happened", async (t) => {
  const { page } = await open(t, '/streams/live/football');
  await page.locator('.chart canvas').nth(11).waitFor();
  assert.match(await text(page, '.reasons'), /48.2 of 60.0 frames a second/);
  assert.match(await text(page, '.timeline'), /The publisher returned after 2.1 s/);
  const ways = page.getByRole('region', { name: 'Sources and targets' });
  assert.match(await ways.innerText(), /push:backup took over from rtsp/);
  assert.match(await ways.innerText(), /10\.0\.0\.5 refuses connections/);
  assert.match(await ways.innerText(), /refuses the key\. Tried again after 15/);
  await page.locator('.groups li.ill', { hasText: 'edge-b' }).waitFor();
  assert.equal(await page.locator('.groups li.ill').count(), 1, 'the viewers of one edge wait, and no others');
  const output = page.locator('.chart output').first();
  const was = await output.innerText();
  await page.waitForFunction((was) => document.querySelector('.chart output').innerText !== was, was);
  // What was before the page was opened is there: a quarter of an hour, not what came since.
  await page.getByRole('button', { name: '15 min' }).click();
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector('.chart canvas');
    const { data } = canvas.getContext('2d').getImageData(canvas.width * 0.3, 0, 1, canvas.height);
    return data.some((value, i) => i % 4 === 3 && value > 0);
  });
  assert.ok(drawn);
});

test('a drain is asked for twice', async (t) => {
  const { page, operator } = await open(t, '/nodes');
  const card = page.getByRole('region', { name: 'Node edge-a' });
  await card.getByRole('button', { name: 'Drain' }).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.innerText(), /804 viewers are sent to other edges/);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual(operator.drained, []);
  await card.getByRole('button', { name: 'Drain' }).click();
  await dialog.getByRole('button', { name: 'Drain edge-a' }).click();
  await dialog.getByText('It is draining').waitFor();
  assert.deepEqual(operator.drained, ['/api/v1/nodes/edge-a/drain']);
});

test('a server that goes away and comes back', async (t) => {
  const { page, operator } = await open(t, '/');
  await page.locator('.pill.link.good').waitFor();
  operator.hush(true);
  await page.getByText('The connection is lost.').waitFor();
  assert.ok((await page.locator('.line').count()) > 5, 'what was known stays');
  operator.hush(false);
  await page.getByRole('button', { name: 'Try now' }).click();
  await page.locator('.pill.link.good').waitFor();
  assert.equal(await page.locator('.lost').count(), 0);
});

test('where server-sent events do not come through, the page asks', async (t) => {
  const { page, operator } = await open(t, '/nowhere');
  operator.streaming = false;
  await page.goto(`${operator.origin}/`);
  await page.locator('.pill.link', { hasText: 'Every 2 s' }).waitFor();
  const told = await text(page, '.line:nth-child(5) .rate');
  await page.waitForFunction((was) => document.querySelector('.line:nth-child(5) .rate').innerText !== was, told);
});

test('a port with a password lets nobody in without it', async (t) => {
  const { page } = await open(t, '/', { password: 'right' });
  await page.getByLabel("The operator's password").fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('This is not the password.').waitFor();
  await page.getByLabel("The operator's password").fill('right');
  await page.keyboard.press('Enter');
  await page.locator('.line').first().waitFor();
  await page.getByRole('button', { name: 'Log out' }).waitFor();
});

test('the doctor says what to set, and that it is cured', async (t) => {
  const { page, operator } = await open(t, '/doctor/live/show', { viewport: DOCK });
  await page.getByText('Set Keyframe Interval to 1 s').waitFor();
  operator.gop = false;
  await page.getByText('Cured.').waitFor();
  assert.equal(await page.locator('.advice').count(), 0);
});

test("the doctor asks for the stream's key, and keeps it behind the hash", async (t) => {
  const { page } = await open(t, '/doctor/live/show', { viewport: DOCK, password: 'secret' });
  await page.getByLabel('Key of live/show').fill('secret');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.locator('dd').first().waitFor();
  assert.equal(new URL(page.url()).hash, '#key=secret');
});

for (const [colorScheme, viewport] of [['light', DESK], ['dark', PHONE]]) {
  test(`nothing that axe finds serious, ${colorScheme}, ${viewport.width} wide`, async (t) => {
    const { page, operator } = await open(t, '/', { viewport, colorScheme });
    const empty = await new Operator({ streams: 0 }).start();
    t.after(() => empty.stop());
    const found = [];
    const views = [
      [operator.origin, '/', '.line'], [operator.origin, '/streams/live/football', '.chart canvas'], [operator.origin, '/nodes', '.node'],
      [operator.origin, '/alerts', '.timeline li'], [empty.origin, '/', '.empty'], [operator.origin, '/doctor/live/show', 'dd'],
    ];
    for (const [origin, path, ready] of views) {
      await page.goto(origin + path);
      await page.locator(ready).first().waitFor();
      await page.addScriptTag({ path: axe });
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      found.push(...serious.map(({ id, nodes }) => `${path} ${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary.replaceAll('\n', ' ').slice(0, 260)}`).join(' | ')}`));
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wider > 0) found.push(`${path} is ${wider} px wider than its window`);
    }
    assert.deepEqual(found, []);
  });
}
