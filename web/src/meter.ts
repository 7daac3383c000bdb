/** Counts what a viewer lives through: first picture, stalls, how long. Pure: fed with times in milliseconds. */
export class Meter {
  stalls = 0;
  firstPictureMillis: number | null = null;
  /** The present attachment has shown a picture. */
  picturing = false;
  private stalledMillis = 0;
  private stalledSince: number | null = null;
  private moved = { at: 0, playhead: -1 };

  /** A playhead that stands still for this long (milliseconds) has stalled even where the browser does not say so. */
  private static readonly STILL = 300;

  /** Stalls closer together than this (milliseconds) are one: the last frames trickle out. */
  private static readonly SAME = 300;
  private resumedAt = -Infinity;

  get stalled(): boolean {
    return this.stalledSince !== null;
  }

  /** Seconds spent in stalls, the present one included. */
  stallSeconds(now: number): number {
    const open = this.stalledSince === null ? 0 : now - this.stalledSince;
    return (this.stalledMillis + open) / 1000;
  }

  /** How long the present stall lasts (milliseconds); 0 without one. */
  stalledFor(now: number): number {
    return this.stalledSince === null ? 0 : now - this.stalledSince;
  }

  picture(now: number): void {
    this.firstPictureMillis ??= now;
    this.picturing = true;
    this.moved = { at: now, playhead: -1 };
  }

  /** The browser says that it ran dry. Before the first picture and in seeks that is no stall. */
  waiting(now: number): void {
    if (this.picturing && this.stalledSince === null) this.begin(now);
  }

  /** A look at the playhead. `free`: it should move (not paused, not seeking, not ended). */
  look(now: number, playhead: number, free: boolean): void {
    if (!free || playhead !== this.moved.playhead) {
      const came = playhead !== this.moved.playhead;
      this.moved = { at: now, playhead };
      if (this.stalledSince !== null && (came || !free)) this.resume(now);
    } else if (now - this.moved.at > Meter.STILL && this.picturing && this.stalledSince === null) {
      this.begin(this.moved.at);
    }
  }

  /** The source was taken away: what follows is waiting, not stalling. */
  detach(now: number): void {
    if (this.stalledSince !== null) this.resume(now);
    this.picturing = false;
  }

  private begin(at: number): void {
    this.stalledSince = at;
    if (at - this.resumedAt > Meter.SAME) this.stalls += 1;
  }

  private resume(now: number): void {
    this.resumedAt = now;
    this.stalledMillis += now - (this.stalledSince ?? now);
    this.stalledSince = null;
  }
}
