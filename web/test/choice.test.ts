import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Choice, LATE } from '../src/choice';

/** hls.js looks at what is loading every so often (milliseconds) while its watch runs. */
const WATCH = 100;

/** A controller whose look at what is loading is counted. It stands without an hls.js around it. */
function controller() {
  const choice = Object.create(Choice.prototype);
  const looks = vi.fn();
  Object.assign(choice, { timer: -1, hls: {}, _abandonRulesCheck: looks });
  return { choice, looks };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('self', globalThis);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const frag = { type: 'main', sn: 7, level: 1 };

test('a segment is watched from the beginning', () => {
  const { choice, looks } = controller();
  choice.onFragLoading('hlsFragLoading', { frag });
  vi.advanceTimersByTime(3 * WATCH);
  expect(looks).toHaveBeenCalledTimes(3);
});

test('a part is let be until it is late, and watched then', () => {
  const { choice, looks } = controller();
  choice.onFragLoading('hlsFragLoading', { frag, part: { index: 0 } });
  vi.advanceTimersByTime(LATE);
  expect(looks).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2 * WATCH);
  expect(looks).toHaveBeenCalledTimes(2);
});

test('parts that follow each other in time are never watched', () => {
  const { choice, looks } = controller();
  for (let index = 0; index < 20; index += 1) {
    choice.onFragLoading('hlsFragLoading', { frag, part: { index } });
    vi.advanceTimersByTime(0.9 * LATE);
  }
  expect(looks).not.toHaveBeenCalled();
});
