/** Playback by the browser itself, where it has no Media Source Extensions (iPhones before iOS 17.1). */
import type { Listener } from './playback';

export class NativePlayback {
  readonly level = -1;
  readonly chosen = -1;
  readonly period = 1;
  readonly edge = null;
  readonly fresh = false;
  private readonly stop = new AbortController();

  constructor(
    private readonly video: HTMLVideoElement,
    url: string,
    listener: Listener,
  ) {
    const { signal } = this.stop;
    video.addEventListener('ended', () => listener.ended(), { signal });
    video.addEventListener('progress', () => listener.appended(), { signal });
    video.addEventListener(
      'error',
      () => {
        const unsupported = video.error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
        listener.failed({ is: unsupported ? 'unsupported' : 'network', detail: video.error?.message ?? 'unknown' });
      },
      { signal },
    );
    video.src = url;
  }

  levels(): never[] {
    return [];
  }

  choose(): void {}

  get shownDate(): number | null {
    const start = (this.video as { getStartDate?: () => Date }).getStartDate?.().getTime();
    return start !== undefined && Number.isFinite(start) ? start + this.video.currentTime * 1000 : null;
  }

  close(): void {
    this.stop.abort();
    this.video.removeAttribute('src');
    this.video.load();
  }
}

export const playsNatively = (video: HTMLVideoElement): boolean =>
  video.canPlayType('application/vnd.apple.mpegurl') !== '';
