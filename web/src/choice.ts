/**
 * Which rendition plays: hls.js's own choice by throughput, without its habit of giving up a part that is under way.
 *
 * hls.js drops what it loads for a lower rendition when the rest of it seems to take longer than what is buffered
 * lasts. It expects each part to be of average size; one that begins with an IDR frame has several times that, and
 * this page buffers 0.3 s on purpose. On a link with 1.4 times the rendition's rate it so gives up every few seconds,
 * forgets its estimate, plays the lowest rendition, and climbs back. A late part costs less than that.
 */
import Hls from 'hls.js';
import type { AbrController, Events, FragLoadingData } from 'hls.js';

/** A part that takes this long (milliseconds) will not be played in time: now another rendition is better. */
export const LATE = 1000;

const Stock: typeof AbrController = Hls.DefaultConfig.abrController;

export class Choice extends Stock {
  private late: ReturnType<typeof setTimeout> | undefined;

  protected override onFragLoading(event: Events.FRAG_LOADING, data: FragLoadingData): void {
    clearTimeout(this.late);
    super.onFragLoading(event, data);
    if (!data.part) return;
    this.clearTimer();
    // One that has arrived by then ends the watch by itself.
    this.late = setTimeout(() => super.onFragLoading(event, data), LATE);
  }

  override destroy(): void {
    clearTimeout(this.late);
    super.destroy();
  }
}
