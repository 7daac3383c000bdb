/** What `window.aqueduct.stats()` answers: for tests, and for operators who look over a viewer's shoulder. */
import type { Session } from './session';

export interface Stats {
  /** Seconds between capture (the stream's program date-time) and screen, by the server's clock; null while unknown. */
  latency: number | null;
  /** Seconds buffered ahead of the playhead. */
  buffer: number;
  /** Least buffer (seconds) that recent arrivals would leave at the present distance from live. */
  slack: number;
  /** Seconds that the rate control holds between the usual least buffer and an empty one. */
  target: number;
  /** Present playback rate. */
  rate: number;
  /** Stalls since the first picture, and the seconds spent in them. */
  stalls: number;
  stallSeconds: number;
  stalled: boolean;
  /** From opening the page to the first picture; null before it. */
  firstPictureMillis: number | null;
  /** From the server's word that the stream is live to the first picture; null before it. */
  liveToPictureMillis: number | null;
  /** Height of the rendition on screen (pixels); null before the first picture. */
  level: number | null;
  droppedFrames: number;
  totalFrames: number;
  /** Server clock minus this machine's (seconds), as far as `Date` headers tell. */
  clockOffset: number;
  playhead: number;
  paused: boolean;
  /** What made playback start again, oldest first. */
  errors: string[];
  /** What went wrong and was mended without a new start: how often, by hls.js's name for it. */
  mended: Record<string, number>;
}

export function stats(session: Session, video: HTMLVideoElement): Stats {
  const now = performance.now();
  const { meter, viewing, clock } = session;
  const frames = video.getVideoPlaybackQuality();
  return {
    latency: session.latency(),
    buffer: viewing.ahead,
    slack: viewing.control.slack,
    target: viewing.control.target,
    rate: video.playbackRate,
    stalls: meter.stalls,
    stallSeconds: meter.stallSeconds(now),
    stalled: meter.stalled,
    firstPictureMillis: meter.firstPictureMillis,
    liveToPictureMillis: session.liveToPictureMillis,
    level: video.videoHeight || null,
    droppedFrames: frames.droppedVideoFrames,
    totalFrames: frames.totalVideoFrames,
    clockOffset: clock.offset / 1000,
    playhead: video.currentTime,
    paused: video.paused,
    errors: [...session.errors],
    mended: Object.fromEntries(session.mended),
  };
}
