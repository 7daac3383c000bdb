import { describe, expect, it } from 'vitest';
import { ServerClock } from '../src/clock';

/** Answers of a server whose clock is `offset` ahead, as a viewer sees them: one every 700 ms, 60 ms under way. */
function listen(clock: ServerClock, offset: number, count: number, from = 1_700_000_000_123): void {
  for (let i = 0; i < count; i += 1) {
    const sent = from + i * 700;
    const written = sent + 30;
    const date = Math.floor((written + offset) / 1000) * 1000;
    clock.observe(date, 0, sent, sent + 60);
  }
}

describe('the server clock', () => {
  it('takes clocks that may agree for clocks that do', () => {
    const clock = new ServerClock();
    expect(clock.offset).toBe(0);
    listen(clock, 20, 50);
    expect(clock.offset).toBe(0);
  });

  it.each([-90_000, -1500, 1500, 3_600_000])('finds an offset of %i ms to a tenth of a second', (offset) => {
    const clock = new ServerClock();
    listen(clock, offset, 50);
    expect(Math.abs(clock.offset - offset)).toBeLessThan(100);
  });

  it('counts the time in caches', () => {
    const clock = new ServerClock();
    const now = 1_700_000_000_000;
    for (let i = 0; i < 40; i += 1) {
      const at = now + i * 770;
      clock.observe(Math.floor((at - 4000) / 1000) * 1000, 4, at, at + 20);
    }
    expect(Math.abs(clock.offset)).toBeLessThan(300);
  });

  it('begins again when a clock is set', () => {
    const clock = new ServerClock();
    listen(clock, 5000, 50);
    listen(clock, -8000, 50, 1_700_000_100_000);
    expect(Math.abs(clock.offset + 8000)).toBeLessThan(100);
  });

  it('does without a Date', () => {
    const clock = new ServerClock();
    clock.observe(Number.NaN, 0, 0, 10);
    expect(clock.offset).toBe(0);
  });
});
