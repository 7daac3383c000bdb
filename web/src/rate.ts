/**
 * Steers the playback rate so that a viewer stays as near to live as the viewer's own network allows.
 *
 * Everything is measured in one quantity, the *need*: wall time minus the end of what is buffered, in seconds.
 * It grows while nothing arrives and falls when a part does, so its peaks say how late the stream may run dry.
 * The playhead's own distance (wall time minus playhead) less the highest peak is the *slack*: the least buffer
 * that this viewer's recent arrivals would have left. The controller holds the slack at a floor. Slack does not
 * depend on when in a part's period it is looked at, so the rate has no ripple to follow.
 *
 * Pure: samples in, a rate out; no clock, no media element.
 */

/** What the player sees at one moment. Times in seconds. */
export interface Sample {
  /** Monotonic wall time. */
  now: number;
  /** Position of the playhead on the media timeline. */
  playhead: number;
  /** End of the buffered range that holds the playhead. */
  end: number;
  /** The playhead should move but cannot. */
  stalled: boolean;
  /** Duration of a part (of a segment where there are no parts). */
  period: number;
  /** The page is visible: timers run on time, so lateness is the network's and not the browser's. */
  visible: boolean;
}

/** What to do now. */
export interface Steering {
  /** For `video.playbackRate`. */
  rate: number;
  /** Seconds to jump ahead at once; 0 almost always. */
  jump: number;
}

/** Seconds, unless it says otherwise. */
export interface Limits {
  /** Slack to hold on a perfect network: decoders need a few frames in hand. */
  floor: number;
  /** How much a stall adds to the floor, and the most that stalls may add. */
  stallBoost: number;
  stallBoostMax: number;
  /** The same for slips, which cost a click in the sound and no more. */
  slipBoost: number;
  slipBoostMax: number;
  /** Most that lateness may add to the distance from live. */
  maxLateness: number;
  /** Calm time before the target is lowered; how fast then, in seconds and in shares of what was added, per second. */
  calm: number;
  lowering: number;
  loweringShare: number;
  slowest: number;
  fastest: number;
  /** Distance behind the target from which a jump is kinder than minutes of fast playback. */
  jumpBehind: number;
}

export const LIMITS: Limits = {
  floor: 0.15,
  stallBoost: 0.08,
  stallBoostMax: 0.45,
  slipBoost: 0.02,
  slipBoostMax: 0.05,
  maxLateness: 0.8,
  calm: 20,
  lowering: 0.01,
  loweringShare: 0.03,
  slowest: 0.95,
  fastest: 1.15,
  jumpBehind: 3,
};

/** Error that starts a correction, and the one that ends it. */
const WAKE = 0.04;
const REST = 0.01;
/** Rate per second of error; halves an error in about 2 s. */
const GAIN = 0.35;
/** Arrivals at the stream's own pace that do not count yet. */
const UNCOUNTED = 3;
/** Weight of one arrival in the running mean. */
const MEAN_WEIGHT = 0.1;
/** A playhead that loses this much (seconds) without a stall has slipped: the decoders ran dry for a moment. */
const SLIP = 0.025;
/** Some browsers move the playhead in steps; the least distance within this time (seconds) hides them. */
const STEPS = 0.25;
/** A break in the samples longer than this (seconds) says that the page was asleep. */
const ASLEEP = 0.6;
/**
 * An outage counts in full for this long (seconds), then as `maxLateness` at most. By then the mean tells a
 * timeline that has moved for good (the publisher was away) from a network that was late once.
 */
const OUTAGE_MEMORY = 3;
/** A step of the buffered end longer than this (seconds) is another timeline, not an arrival. */
const ANOTHER_TIMELINE = 12;

export class RateControl {
  private last: Sample | undefined;
  private arrivedAt = -Infinity;
  private arrivals = 0;
  /** Running mean and highest of the needs at arrivals. */
  private mean = 0;
  private peak = -Infinity;
  private touchedAt = 0;
  private boost = 0;
  private raises = 0;
  private raisedAt = 0;
  private rate = 1;
  /** Where the playhead has been, and the distance from the wall clock at which its rate should keep it. */
  private track: { distances: { at: number; distance: number }[]; expected: number } | undefined;
  private correcting = false;
  private slackNow = 0;
  private distrustUntil = -Infinity;

  constructor(private readonly limits: Limits = LIMITS) {}

  /** Least buffer to be held, as `slack` counts it. */
  get goal(): number {
    return this.limits.floor + this.boost;
  }

  /** The distance held between the mean of the least buffers and an empty one: goal plus lateness. */
  get target(): number {
    return this.goal + this.lateness;
  }

  /** How much later than the mean the latest recent part came. */
  get lateness(): number {
    return this.knowsArrivals ? Math.max(0, this.peak - this.mean) : 0;
  }

  get slack(): number {
    return this.slackNow;
  }

  /** Takes one sample and says how to play on. Samples come in the order of their time. */
  steer(sample: Sample): Steering {
    const last = this.last;
    this.last = sample;
    if (!last || this.isAnotherTimeline(last, sample)) {
      this.forget(sample);
      return { rate: 1, jump: 0 };
    }
    const trusted = this.isTrusted(last, sample);
    if (sample.end > last.end + 1e-4) this.arrive(last, sample, trusted);
    if (sample.stalled && !last.stalled && this.arrivals > 0 && trusted) this.stall(sample.now);
    this.watchForSlips(last, sample, trusted);
    this.relax(sample.now - last.now, sample.now);
    const steering = this.decide(sample, trusted);
    this.rate = steering.rate;
    if (steering.jump > 0) this.track = undefined;
    return steering;
  }

  private isAnotherTimeline(last: Sample, sample: Sample): boolean {
    return sample.end < last.end - 1 || sample.end > last.end + ANOTHER_TIMELINE;
  }

  private isTrusted(last: Sample, sample: Sample): boolean {
    if (!sample.visible || !last.visible || sample.now - last.now > ASLEEP) {
      this.distrustUntil = sample.now + 1;
    }
    return sample.now >= this.distrustUntil;
  }

  private forget(sample: Sample): void {
    this.arrivals = 0;
    this.peak = -Infinity;
    this.arrivedAt = -Infinity;
    this.touchedAt = sample.now;
    this.correcting = false;
    this.track = undefined;
    this.slackNow = sample.end - sample.playhead;
  }

  /**
   * Parts that follow at once on another one (after an outage) say nothing about lateness, and the first few
   * come late because the player is still busy with its start.
   */
  private arrive(last: Sample, sample: Sample, trusted: boolean): void {
    const since = sample.now - this.arrivedAt;
    this.arrivedAt = sample.now;
    if (since < 0.3 * sample.period || since === Infinity || !trusted) return;
    this.arrivals += 1;
    if (!this.knowsArrivals) return;
    const need = sample.now - last.end;
    const counted = this.arrivals - UNCOUNTED;
    this.mean = counted === 1 ? need : this.mean + Math.max(MEAN_WEIGHT, 1 / counted) * (need - this.mean);
    if (need >= this.peak - REST) this.touchedAt = sample.now;
    this.peak = Math.max(this.peak, need);
  }

  private get knowsArrivals(): boolean {
    return this.arrivals > UNCOUNTED;
  }

  private stall(now: number): void {
    this.raise(this.limits.stallBoost, this.limits.stallBoostMax, now);
  }

  private raise(by: number, most: number, now: number): void {
    if (this.boost < most) this.boost = Math.min(most, this.boost + by);
    this.raises += 1;
    this.raisedAt = now;
  }

  /**
   * How much must be in hand depends on the machine's decoders and audio output, and no event tells when it was
   * too little for a moment. But the playhead then falls behind where its rate should have taken it.
   */
  private watchForSlips(last: Sample, sample: Sample, trusted: boolean): void {
    if (!trusted || sample.stalled || last.stalled || sample.playhead < last.playhead) {
      this.track = undefined;
      return;
    }
    const track = (this.track ??= { distances: [], expected: Infinity });
    track.distances.push({ at: sample.now, distance: sample.now - sample.playhead });
    while (track.distances[0]!.at < sample.now - STEPS) track.distances.shift();
    const least = Math.min(...track.distances.map(({ distance }) => distance));
    track.expected = Math.min(least, track.expected + (1 - this.rate) * (sample.now - last.now));
    if (sample.now - track.distances[0]!.at < STEPS / 2 || least <= track.expected + SLIP) return;
    track.expected = least;
    this.raise(this.limits.slipBoost, this.limits.slipBoostMax, sample.now);
  }

  /** Lowers what was raised, slowly, once it has been calm; each raise of late makes it wait longer. */
  private relax(elapsed: number, now: number): void {
    const { calm, lowering, loweringShare, maxLateness } = this.limits;
    const patience = calm * 2 ** Math.min(this.raises, 4);
    if (now - this.touchedAt > OUTAGE_MEMORY) {
      this.peak = Math.min(this.peak, this.mean + maxLateness);
    }
    if (now - this.touchedAt > calm) {
      const share = loweringShare * (this.peak - this.mean);
      this.peak = Math.max(this.peak - (lowering + share) * elapsed, this.mean);
    }
    if (now - this.raisedAt > patience) {
      this.boost = Math.max(0, this.boost - lowering * elapsed);
      if (this.boost === 0) this.raises = 0;
    }
  }

  private decide(sample: Sample, trusted: boolean): Steering {
    this.slackNow = sample.now - sample.playhead - this.worstNeed(sample);
    const error = this.slackNow - this.goal;
    if (!trusted || sample.stalled) return { rate: 1, jump: 0 };
    if (error > this.limits.jumpBehind) return { rate: 1, jump: error };
    if (Math.abs(error) > WAKE) this.correcting = true;
    if (Math.abs(error) < REST) this.correcting = false;
    return { rate: this.correcting ? this.rateFor(error) : 1, jump: 0 };
  }

  /**
   * The highest of the remembered need and the one now, so that slack is never more than what is buffered.
   * Until arrivals count, the need expected at the next one stands in for memory.
   */
  private worstNeed(sample: Sample): number {
    const current = sample.now - sample.end;
    if (this.knowsArrivals) return Math.max(this.peak, current);
    const arrived = this.arrivedAt === -Infinity ? sample.now : this.arrivedAt;
    return Math.max(current, arrived + sample.period - sample.end);
  }

  private rateFor(error: number): number {
    const rate = 1 + GAIN * error;
    const bounded = Math.min(this.limits.fastest, Math.max(this.limits.slowest, rate));
    return Math.round(bounded * 100) / 100;
  }
}
