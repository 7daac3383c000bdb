/** Watches the playhead several times a part: feeds the rate control and the meter, and obeys the former. */
import type { Meter } from './meter';
import { RateControl } from './rate';

const EVERY = 50;

/** What the viewing needs of the attachment. */
export interface Attached {
  readonly period: number;
  readonly edge: number | null;
  /** The server still lists new media. */
  readonly fresh: boolean;
}

/** A stall this long (milliseconds) while new media is listed elsewhere: the playhead is in a hole, and is helped out. */
const HOLE_AFTER = 1500;
/** The least distance (seconds) to media that is worth such a jump. */
const HOLE = 1;
/** A stall this long (milliseconds) while new media is listed: the player is stuck for good. */
const STUCK_AFTER = 10_000;

export class Viewing {
  readonly control = new RateControl();
  /** Off while the viewer looks back on purpose. */
  following = true;
  private attached: Attached | undefined;
  private frames = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly meter: Meter,
    private readonly changed: () => void,
    private readonly stuck: () => void,
  ) {
    video.addEventListener('waiting', () => {
      if (this.attached && !video.seeking) meter.waiting(performance.now());
      changed();
    });
    for (const event of ['playing', 'pause', 'seeked', 'ratechange']) video.addEventListener(event, () => this.look());
    setInterval(() => this.look(), EVERY);
  }

  attach(attached: Attached): void {
    this.attached = attached;
    this.following = true;
    this.frames += 1;
    const mine = this.frames;
    // The first frame that reaches the screen, where browsers say so; else the first that could.
    const shown = () => {
      if (mine !== this.frames) return;
      this.meter.picture(performance.now());
      this.changed();
    };
    if ('requestVideoFrameCallback' in this.video) this.video.requestVideoFrameCallback(shown);
    else (this.video as HTMLVideoElement).addEventListener('playing', shown, { once: true });
  }

  detach(): void {
    this.attached = undefined;
    this.frames += 1;
    this.meter.detach(performance.now());
    this.video.playbackRate = 1;
  }

  /** Media seconds ahead of the playhead. */
  get ahead(): number {
    return this.end - this.video.currentTime;
  }

  private get end(): number {
    const { buffered, currentTime } = this.video;
    for (let i = buffered.length - 1; i >= 0; i -= 1) {
      if (buffered.start(i) <= currentTime + 0.1) return Math.max(currentTime, buffered.end(i));
    }
    return currentTime;
  }

  /** Takes a sample now. Called by the timer, and at each append because that is when the need is at its highest. */
  look(): void {
    const { attached, video, meter } = this;
    if (!attached || !meter.picturing) return;
    const now = performance.now();
    const free = !video.paused && !video.seeking && !video.ended;
    const stalledBefore = meter.stalled;
    meter.look(now, video.currentTime, free);
    if (meter.stalled !== stalledBefore) this.changed();
    if (!free || !this.following) {
      if (video.playbackRate !== 1) video.playbackRate = 1;
      return;
    }
    if (meter.stalled && attached.fresh) this.rescue(now, attached);
    this.steer(now, attached);
  }

  /** After a restart of the server, hls.js may wait at a place that no list will ever cover again. */
  private rescue(now: number, { edge }: Attached): void {
    const { video, meter } = this;
    const stalled = meter.stalledFor(now);
    if (stalled > STUCK_AFTER) this.stuck();
    else if (stalled > HOLE_AFTER && edge !== null && edge > video.currentTime + this.ahead + HOLE) video.currentTime = edge;
  }

  /** Goes to where a live viewer belongs. */
  toLive(): void {
    this.following = true;
    const spare = this.control.slack - this.control.goal;
    const { edge = null } = this.attached ?? {};
    if (edge !== null && edge - this.video.currentTime > this.ahead) this.video.currentTime = edge;
    else if (this.ahead > 0.6) this.video.currentTime += Math.max(spare, this.ahead - 0.4);
  }

  private steer(now: number, attached: Attached): void {
    const { rate, jump } = this.control.steer({
      now: now / 1000,
      playhead: this.video.currentTime,
      end: this.end,
      stalled: this.meter.stalled,
      period: attached.period,
      visible: document.visibilityState === 'visible',
    });
    if (jump > 0) this.video.currentTime += Math.min(jump, this.ahead);
    if (this.video.playbackRate !== rate) this.video.playbackRate = rate;
  }
}
