import { describe, expect, it } from 'vitest';
import { LIMITS, RateControl } from '../src/rate';

const PERIOD = 0.2;
const STEP = 0.01;
const SAMPLE_EVERY = 5;

/** When each part becomes playable: `index` counts from 0, its media ends at (index + 1) × PERIOD. */
type Arrival = (index: number) => number;

interface Run {
  stalls: number[];
  stallSeconds: number;
  slips: number;
  /** Wall time minus playhead, once per sample. */
  distance: { at: number; value: number }[];
  rates: { at: number; rate: number }[];
  control: RateControl;
}

const onTime: Arrival = (index) => (index + 1) * PERIOD + 0.03;

/** Same numbers on every run (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** In order, as over one connection: a late part delays those behind it. */
function inOrder(arrival: Arrival): Arrival {
  const known: number[] = [];
  return (index) => {
    for (let i = known.length; i <= index; i += 1) known.push(Math.max(arrival(i), known[i - 1] ?? 0));
    return known[index]!;
  };
}

interface Scene {
  arrival: Arrival;
  seconds: number;
  /** Media seconds buffered ahead of the playhead at the start. */
  ahead?: number;
  visible?: (at: number) => boolean;
  /** Speed of the viewer's clock against the publisher's. */
  drift?: number;
  /** The decoders run dry for a moment when less than this is buffered, and the playhead loses 40 ms. */
  hunger?: number;
  /** The browser moves the playhead in steps of this (seconds). */
  steps?: number;
}

/** A player that moves at the rate it is told, and stops when nothing is buffered. */
function watch({ arrival, seconds, ahead = 0.4, visible = () => true, drift = 1, hunger = 0, steps = 0 }: Scene): Run {
  const control = new RateControl();
  const run: Run = { stalls: [], stallSeconds: 0, slips: 0, distance: [], rates: [], control };
  let at = 10;
  let index = 0;
  while (arrival(index) <= at) index += 1;
  let playhead = index * PERIOD - ahead;
  let rate = 1;
  let stalled = false;
  let frozen = 0;
  for (let step = 0; at < 10 + seconds; step += 1, at = 10 + step * STEP) {
    const before = index;
    while (arrival(index) * drift <= at) index += 1;
    const end = index * PERIOD;
    const moved = playhead + rate * STEP;
    const dry = moved > end;
    const resumes: boolean = !stalled || end - playhead > 0.05;
    if (dry && !stalled) run.stalls.push(at);
    stalled = dry || !resumes;
    if (end - playhead < hunger && frozen === 0) {
      run.slips += 1;
      frozen = 4;
    }
    if (stalled) run.stallSeconds += STEP;
    else if (frozen > 0) frozen -= 1;
    else playhead = moved;
    if (step % SAMPLE_EVERY !== 0 && index === before) continue;
    const told = steps > 0 ? Math.floor(playhead / steps) * steps : playhead;
    const sample = { now: at, playhead: told, end, stalled, period: PERIOD, visible: visible(at) };
    const steering = control.steer(sample);
    rate = steering.rate;
    playhead += steering.jump;
    run.distance.push({ at, value: at - playhead });
    run.rates.push({ at, rate });
  }
  return run;
}

const after = <T extends { at: number }>(list: T[], at: number) => list.filter((entry) => entry.at >= at);
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const distanceAfter = (run: Run, at: number) => mean(after(run.distance, at).map((entry) => entry.value));
const ratesAfter = (run: Run, at: number) => after(run.rates, at).map((entry) => entry.rate);
/** How often the rate crosses from catching up to holding back or the other way. */
function reversals(rates: number[]): number {
  const signs = rates.filter((rate) => rate !== 1).map((rate) => Math.sign(rate - 1));
  return signs.filter((sign, i) => i > 0 && sign !== signs[i - 1]).length;
}

/** Distance of a playhead that has exactly the floor left when a part on time arrives. */
const IDEAL = PERIOD + 0.03 + LIMITS.floor;

describe('steady parts', () => {
  it('closes in on the floor within ten seconds, without a stall, and stays', () => {
    const run = watch({ arrival: onTime, seconds: 60, ahead: 0.9 });
    expect(run.stalls).toEqual([]);
    expect(distanceAfter(run, 20)).toBeLessThan(IDEAL + 0.06);
    expect(distanceAfter(run, 20)).toBeGreaterThan(IDEAL - 0.06);
  });

  it('plays at rate 1 once it is there', () => {
    const run = watch({ arrival: onTime, seconds: 60, ahead: 0.9 });
    expect(new Set(ratesAfter(run, 30))).toEqual(new Set([1]));
  });

  it('forgets how late the first parts were', () => {
    const busy = inOrder((index) => onTime(index) + (index < 53 ? 0.15 : 0));
    const run = watch({ arrival: busy, seconds: 30, ahead: 0.9 });
    expect(run.stalls).toEqual([]);
    expect(distanceAfter(run, 22)).toBeLessThan(IDEAL + 0.06);
  });

  it('holds back, not stalls, when it starts with too little', () => {
    const run = watch({ arrival: onTime, seconds: 40, ahead: 0.26 });
    expect(run.stalls).toEqual([]);
    expect(Math.min(...run.rates.map((entry) => entry.rate))).toBeGreaterThanOrEqual(LIMITS.slowest);
    expect(distanceAfter(run, 30)).toBeGreaterThan(IDEAL - 0.06);
  });

  it('follows a publisher whose clock runs 200 ppm slow for half an hour', () => {
    const run = watch({ arrival: onTime, seconds: 1800, drift: 1.0002 });
    const wait = (entry: { at: number; value: number }) => entry.value - entry.at * (1 - 1 / 1.0002);
    const early = mean(run.distance.filter((e) => e.at > 30 && e.at < 60).map(wait));
    const late = mean(run.distance.filter((e) => e.at > 1780).map(wait));
    expect(run.stalls).toEqual([]);
    expect(Math.abs(late - early)).toBeLessThan(0.06);
  });
});

describe('50 ms of jitter', () => {
  const jitter = (seed: number): Arrival => {
    const random = chance(seed);
    return inOrder((index) => onTime(index) + 0.05 * random());
  };

  it.each([1, 2, 3, 4, 5])('never stalls and adds no more than the jitter (seed %i)', (seed) => {
    const run = watch({ arrival: jitter(seed), seconds: 300 });
    expect(run.stalls).toEqual([]);
    expect(distanceAfter(run, 20)).toBeLessThan(IDEAL + 0.05 + 0.06);
  });

  it('does not hunt', () => {
    const rates = ratesAfter(watch({ arrival: jitter(7), seconds: 300 }), 20);
    expect(reversals(rates)).toBeLessThanOrEqual(4);
    expect(rates.filter((rate) => rate === 1).length / rates.length).toBeGreaterThan(0.8);
  });
});

describe('an outage of one second', () => {
  const outage = inOrder((index) => (index >= 200 && index < 205 ? 205 * PERIOD + 0.03 : onTime(index)));

  it('stalls once and comes back to the former distance', () => {
    const run = watch({ arrival: outage, seconds: 240 });
    expect(run.stalls.length).toBe(1);
    const before = mean(run.distance.filter((e) => e.at > 25 && e.at < 40).map((e) => e.value));
    expect(distanceAfter(run, 230)).toBeLessThan(before + 0.06);
  });

  it('keeps more in hand for twenty seconds, then gives it back slowly', () => {
    const run = watch({ arrival: outage, seconds: 70 });
    const window = (from: number, to: number) =>
      mean(run.distance.filter((e) => e.at >= from && e.at < to).map((e) => e.value));
    const raised = window(52, 60);
    expect(raised).toBeGreaterThan(window(30, 40) + 0.4);
    expect(window(75, 80)).toBeLessThan(raised);
    expect(window(75, 80)).toBeGreaterThan(raised - 0.45);
  });

  it('rides out a second outage that comes soon after', () => {
    const twice = inOrder((index) => {
      for (const first of [200, 260]) {
        if (index >= first && index < first + 4) return (first + 4) * PERIOD + 0.03;
      }
      return onTime(index);
    });
    expect(watch({ arrival: twice, seconds: 80 }).stalls.length).toBe(1);
  });
});

describe('decoders that run dry before the buffer does', () => {
  it('learns to keep more in hand', () => {
    const run = watch({ arrival: onTime, seconds: 120, hunger: 0.19 });
    expect(run.stalls).toEqual([]);
    expect(run.slips).toBeGreaterThan(0);
    expect(run.slips).toBeLessThan(8);
    expect(run.control.slack).toBeGreaterThan(0.18);
    expect(distanceAfter(run, 60)).toBeLessThan(PERIOD + 0.03 + 0.19 + 0.1);
  });

  it('does not take a playhead that moves in steps for one that slips', () => {
    const run = watch({ arrival: onTime, seconds: 120, steps: 0.04 });
    expect(run.control.goal).toBe(LIMITS.floor);
    expect(run.stalls).toEqual([]);
  });
});

describe('bursts', () => {
  /** Parts come three at a time, as over a link that wakes every 600 ms. */
  const bursts: Arrival = (index) => (Math.floor(index / 3) + 1) * 3 * PERIOD + 0.03;

  it('settles without stalls and without hunting', () => {
    const run = watch({ arrival: bursts, seconds: 120 });
    expect(run.stalls.filter((at) => at > 15)).toEqual([]);
    expect(reversals(ratesAfter(run, 20))).toBeLessThanOrEqual(3);
    expect(distanceAfter(run, 30)).toBeLessThan(3 * PERIOD + 0.03 + LIMITS.floor + LIMITS.stallBoost + 0.06);
  });
});

describe('an outage of five seconds', () => {
  const outage = inOrder((index) => (index >= 200 && index < 225 ? 225 * PERIOD + 0.03 : onTime(index)));

  it('is not made up for by minutes of fast playback', () => {
    const run = watch({ arrival: outage, seconds: 60 });
    expect(run.stalls.length).toBe(1);
    expect(distanceAfter(run, 65)).toBeLessThan(IDEAL + LIMITS.maxLateness + LIMITS.stallBoost + 0.1);
  });
});

describe('a publisher that was away', () => {
  /** Four seconds that never come: all later media is four seconds further from the wall clock. */
  const gone: Arrival = (index) => onTime(index) + (index >= 200 ? 4 : 0);

  it('stalls once and takes the new timeline for the normal one', () => {
    const run = watch({ arrival: gone, seconds: 120 });
    expect(run.stalls.length).toBe(1);
    expect(distanceAfter(run, 110)).toBeLessThan(4 + IDEAL + LIMITS.stallBoost + 0.08);
    expect(Math.max(...run.rates.map((entry) => entry.rate))).toBeLessThanOrEqual(LIMITS.fastest);
  });
});

describe('the page', () => {
  it.each([0.49, 1.37])('does not take a tab that wakes every %f s for a bad network', (nap) => {
    const control = new RateControl();
    const sample = (now: number, visible: boolean) => ({
      now,
      playhead: now - 0.4,
      end: Math.floor(now / PERIOD) * PERIOD,
      stalled: false,
      period: PERIOD,
      visible,
    });
    for (let now = 10; now < 20; now += 0.05) control.steer(sample(now, true));
    const before = control.target;
    for (let now = 20; now < 80; now += nap) expect(control.steer(sample(now, false)).rate).toBe(1);
    for (let now = 80; now < 82; now += 0.05) control.steer(sample(now, true));
    expect(control.target).toBeLessThan(before + 0.03);
  });

  it('jumps only when far behind', () => {
    const jumps = (ahead: number) => {
      const control = new RateControl();
      let most = 0;
      for (let now = 10; now < 13; now += 0.05) {
        const end = Math.floor(now / PERIOD) * PERIOD;
        most = Math.max(most, control.steer({ now, playhead: now - ahead, end, stalled: false, period: PERIOD, visible: true }).jump);
      }
      return most;
    };
    expect(jumps(2.5)).toBe(0);
    expect(jumps(6)).toBeGreaterThan(5);
    expect(jumps(6)).toBeLessThan(6);
  });

  it('starts afresh on another timeline', () => {
    const control = new RateControl();
    const at = (now: number, end: number) => control.steer({ now, playhead: end - 0.3, end, stalled: false, period: PERIOD, visible: true });
    for (let now = 10; now < 14; now += 0.05) at(now, Math.floor(now / PERIOD) * PERIOD);
    at(14.05, 100);
    expect(control.lateness).toBe(0);
  });
});

describe('after a stall', () => {
  it('raises the goal, and lowers it again after a calm time', () => {
    const control = new RateControl();
    const feed = (from: number, to: number, stalled: (now: number) => boolean) => {
      for (let now = from; now < to; now += 0.05) {
        const end = Math.floor(now / PERIOD) * PERIOD;
        control.steer({ now, playhead: now - PERIOD - LIMITS.floor, end, stalled: stalled(now), period: PERIOD, visible: true });
      }
    };
    feed(10, 15, () => false);
    expect(control.goal).toBe(LIMITS.floor);
    feed(15, 16, () => true);
    expect(control.goal).toBeGreaterThan(LIMITS.floor + 0.05);
    expect(control.goal).toBeCloseTo(LIMITS.floor + LIMITS.stallBoost);
    feed(16, 30, () => false);
    expect(control.goal).toBeCloseTo(LIMITS.floor + LIMITS.stallBoost);
    feed(30, 80, () => false);
    expect(control.goal).toBe(LIMITS.floor);
  });
});
