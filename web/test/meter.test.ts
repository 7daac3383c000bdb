import { describe, expect, it } from 'vitest';
import { Meter } from '../src/meter';

/** Looks every 50 ms from `from` to `to`, at a playhead given by `at`. */
function look(meter: Meter, from: number, to: number, at: (now: number) => number, free = true): void {
  for (let now = from; now < to; now += 50) meter.look(now, at(now), free);
}
const plays = (now: number) => now / 1000;

describe('the meter', () => {
  it('keeps the first picture', () => {
    const meter = new Meter();
    meter.picture(420);
    meter.picture(9000);
    expect(meter.firstPictureMillis).toBe(420);
  });

  it('counts no stall before the first picture, after a detach, or while nothing should move', () => {
    const meter = new Meter();
    meter.waiting(100);
    look(meter, 100, 2000, () => 0);
    meter.picture(2000);
    look(meter, 2000, 3000, plays);
    look(meter, 3000, 9000, () => 3, false);
    meter.detach(9000);
    meter.waiting(9100);
    look(meter, 9100, 12_000, () => 0);
    expect(meter.stalls).toBe(0);
    expect(meter.stallSeconds(12_000)).toBe(0);
  });

  it('times a stall that the browser tells of', () => {
    const meter = new Meter();
    meter.picture(0);
    look(meter, 0, 1000, plays);
    meter.waiting(1000);
    look(meter, 1050, 2000, () => 0.95);
    expect(meter.stalled).toBe(true);
    look(meter, 2000, 3000, plays);
    expect(meter.stalled).toBe(false);
    expect(meter.stalls).toBe(1);
    expect(meter.stallSeconds(3000)).toBeCloseTo(1, 1);
  });

  it('sees a stall that the browser keeps to itself', () => {
    const meter = new Meter();
    meter.picture(0);
    look(meter, 0, 1000, plays);
    look(meter, 1000, 2000, () => 1);
    expect(meter.stalls).toBe(1);
    expect(meter.stalledFor(2000)).toBeGreaterThan(800);
  });

  it('takes stalls that follow at once for one', () => {
    const meter = new Meter();
    meter.picture(0);
    look(meter, 0, 1000, plays);
    meter.waiting(1000);
    meter.look(1050, 1.01, true);
    meter.waiting(1100);
    look(meter, 1150, 3000, () => 1.01);
    look(meter, 3000, 5000, plays);
    meter.waiting(5000);
    expect(meter.stalls).toBe(2);
  });
});
