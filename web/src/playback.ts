/** One attachment of hls.js to the video element, from a multivariant playlist until it ends or fails. */
import Hls from 'hls.js';
import type {
  ErrorData,
  HlsConfig,
  LevelDetails,
  LoaderCallbacks,
  LoaderConfiguration,
  LoaderContext,
  PlaylistLoaderConstructor,
} from 'hls.js';
import { Choice } from './choice';
import type { ServerClock } from './clock';
import { remind } from './parts';

/** Why an attachment is of no more use. */
export type Failure =
  | { is: 'network'; detail: string }
  | { is: 'media'; detail: string }
  | { is: 'unsupported'; detail: string };

export interface Level {
  index: number;
  height: number;
  bitrate: number;
}

/** What an attachment tells its owner. */
export interface Listener {
  /** The renditions are known. */
  levels(levels: Level[]): void;
  /** Bytes were appended: the end of the buffer has moved. */
  appended(): void;
  /** The publisher has ended the stream, and all of it was played. */
  ended(): void;
  failed(failure: Failure): void;
  /** The stream can be had from these hosts as well. */
  places(hosts: string[]): void;
  /** It plays from this server (`https://host:port`). */
  from(origin: string): void;
  /** Something went wrong that hls.js mends by itself. */
  mended(detail: string): void;
}

/**
 * Distance behind the newest part at which playback starts (seconds): what is held later, less the time that a
 * start takes. hls.js then loads from the newest independent part before that point, and no earlier.
 */
const START_BEHIND = 0.25;

/** The server holds a playlist request for up to 8 s before it says 503; a network may add to that. */
const HELD = 14_000;

/** Server errors and a lost network are waited out; a 4xx is an answer. */
function worthRetrying(status: number | undefined): boolean {
  return status === undefined || status === 0 || status >= 500;
}

/**
 * `elsewhere` says whether another group of edges has the stream: then a server that cannot be reached is asked once
 * more and left, and hls.js goes on from there. A server that answers is waited for: steering says when to leave it.
 */
function patient(firstByte: number, times: number, elsewhere: () => boolean): HlsConfig['playlistLoadPolicy'] {
  const limit = (most: number, gone: boolean) => (gone && elsewhere() ? 1 : most);
  return {
    default: {
      maxTimeToFirstByteMs: firstByte,
      maxLoadTimeMs: 20_000,
      timeoutRetry: { maxNumRetry: times, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: {
        maxNumRetry: times,
        retryDelayMs: 500,
        maxRetryDelayMs: 2000,
        shouldRetry: (policy, tries, timedOut, answer) =>
          !!policy && tries < limit(policy.maxNumRetry, timedOut || !answer?.code) && (timedOut || worthRetrying(answer?.code)),
      },
    },
  };
}

/** How long (milliseconds) a rendition is left alone after it listed a gap. A lost encoder is back in two seconds. */
const AWAY = 5000;

/** hls.js, set up to start at the edge and to leave the playback rate to the page. */
function configure(known: string, elsewhere: () => boolean): Partial<HlsConfig> {
  const held = patient(HELD, 20, elsewhere);
  return {
    // `?debug` in the page's address shows hls.js at work in the console.
    debug: new URLSearchParams(location.search).has('debug'),
    lowLatencyMode: true,
    liveSyncDuration: START_BEHIND,
    liveSyncOnStallIncrease: 0,
    maxLiveSyncPlaybackRate: 1,
    liveDurationInfinity: true,
    startFragPrefetch: true,
    testBandwidth: false,
    // fMP4 passes through as it is: a worker would cost a thread, its start and a copy for nothing.
    enableWorker: false,
    backBufferLength: 12,
    maxBufferLength: 12,
    maxMaxBufferLength: 24,
    highBufferWatchdogPeriod: 1,
    capLevelToPlayerSize: true,
    enableID3MetadataCues: false,
    enableEmsgMetadataCues: false,
    enableDateRangeMetadataCues: false,
    playlistLoadPolicy: held,
    fragLoadPolicy: patient(8000, 4, elsewhere),
    pLoader: knowing(known, held),
    abrController: Choice,
  };
}

/**
 * A playlist loader that has the multivariant playlist already (one round trip less before the first picture), and
 * that waits for as long as the server holds a request. hls.js gives up on one for a part after three part or 0.8
 * target durations, asks again without directives, and then polls for a while: a source that is late by a second
 * would cost two.
 */
function knowing(known: string, { default: held }: HlsConfig['playlistLoadPolicy']): PlaylistLoaderConstructor {
  const Stock = Hls.DefaultConfig.loader;
  return class extends Stock {
    override load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>): void {
      if ((context as { type?: string }).type !== 'manifest') {
        const { maxTimeToFirstByteMs, maxLoadTimeMs } = held;
        const loadPolicy = { ...config.loadPolicy, maxTimeToFirstByteMs, maxLoadTimeMs };
        super.load(context, { ...config, loadPolicy, timeout: maxLoadTimeMs }, callbacks);
        return;
      }
      const now = performance.now();
      this.stats.loading = { start: now, first: now, end: now };
      this.stats.loaded = this.stats.total = known.length;
      queueMicrotask(() => callbacks.onSuccess({ url: context.url, data: known, code: 200 }, this.stats, context, null));
    }
  } as unknown as PlaylistLoaderConstructor;
}

export class Playback {
  private readonly hls: Hls;
  private recovered = false;
  private over = false;
  /** Renditions that list gaps, and when that was seen. */
  private readonly missing = new Map<number, number>();
  private back: ReturnType<typeof setTimeout> | undefined;
  /** Other groups of edges have the stream. */
  private elsewhere = false;
  /** What the viewer had chosen before; -1 for automatic. */
  private wanted = -1;

  constructor(
    private readonly video: HTMLVideoElement,
    url: string,
    multivariant: string,
    private readonly clock: ServerClock,
    private readonly listener: Listener,
  ) {
    const hls = new Hls(configure(multivariant, () => this.elsewhere));
    this.hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => listener.levels(this.levels()));
    hls.on(Hls.Events.BUFFER_APPENDED, () => listener.appended());
    hls.on(Hls.Events.LEVELS_UPDATED, () => {
      this.missing.clear();
      listener.levels(this.levels());
    });
    hls.on(Hls.Events.STEERING_MANIFEST_LOADED, (_, { steeringManifest: { 'PATHWAY-CLONES': clones = [] } }) => {
      this.elsewhere = clones.length > 0;
      listener.places(clones.flatMap((clone) => clone['URI-REPLACEMENT'].HOST ?? []));
    });
    hls.on(Hls.Events.LEVEL_LOADED, (_, data) => {
      listener.from(new URL(data.details.url).origin);
      this.heed(data.networkDetails, data.stats.loading);
      this.notice(data.details);
    });
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details, level }) => {
      this.remind(details);
      this.leaveGap(details, level);
    });
    hls.on(Hls.Events.AUDIO_TRACK_UPDATED, (_, { details }) => this.remind(details));
    hls.on(Hls.Events.MEDIA_ENDED, () => this.finish());
    hls.on(Hls.Events.ERROR, (_, data) => this.mend(data));
    hls.loadSource(url);
    hls.attachMedia(video);
  }

  /** Renditions to choose from, best first. */
  levels(): Level[] {
    return this.hls.levels
      .map(({ height, bitrate }, index) => ({ index, height, bitrate }))
      .sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
  }

  /** The rendition that plays; -1 before there is one. */
  get level(): number {
    return this.hls.currentLevel;
  }

  /** The rendition that the viewer asked for; -1 for automatic. */
  get chosen(): number {
    return this.hls.autoLevelEnabled ? -1 : this.hls.manualLevel;
  }

  choose(level: number): void {
    clearTimeout(this.back);
    this.back = undefined;
    this.hls.nextLevel = level;
  }

  /** Seconds between parts; of a segment where there are no parts; 1 before that is known. */
  get period(): number {
    const details = this.hls.latestLevelDetails;
    return details?.partTarget || details?.targetduration || 1;
  }

  /** When what is on screen was captured, by the publisher's entry clock; null while unknown. */
  get shownDate(): number | null {
    return this.hls.playingDate?.getTime() ?? null;
  }

  /** Where a viewer who wants to be live should be. */
  get edge(): number | null {
    return this.hls.liveSyncPosition;
  }

  /** A list with something new came within the last two seconds. */
  get fresh(): boolean {
    const details = this.hls.latestLevelDetails;
    return details !== null && details.live && details.age < 2;
  }

  close(): void {
    this.over = true;
    clearTimeout(this.back);
    this.hls.destroy();
  }

  /** Both events come before hls.js looks for what to load next. */
  private remind(details: LevelDetails): void {
    const { buffered } = this.video;
    const ranges = Array.from({ length: buffered.length }, (_, i): [number, number] => [buffered.start(i), buffered.end(i)]);
    if (details.partList && remind(details.partList, ranges) > 0) this.listener.mended('forgottenPart');
  }

  /**
   * A rendition whose encoder was lost lists gaps. hls.js passes over gap parts, and leaves only when a whole segment
   * is one: longer than what this page holds. So another one plays until it may be back.
   */
  private leaveGap(details: LevelDetails, level: number): void {
    const { hls, missing } = this;
    if (!details.partList?.at(-1)?.gap) {
      missing.delete(level);
      return;
    }
    const now = performance.now();
    missing.set(level, now);
    if (level !== hls.loadLevel) return;
    const recently = (index: number) => now - (missing.get(index) ?? -Infinity) < AWAY;
    const other = nearest(hls.levels, level, recently);
    if (other === undefined) return;
    const wanted = this.back === undefined ? this.chosen : this.wanted;
    this.wanted = wanted;
    hls.loadLevel = other;
    clearTimeout(this.back);
    this.back = setTimeout(() => {
      this.back = undefined;
      hls.loadLevel = wanted;
    }, AWAY);
  }

  /** Learns the server's clock from a playlist's headers. */
  private heed(details: unknown, loading: { start: number; end: number }): void {
    if (!(details instanceof XMLHttpRequest)) return;
    const back = (at: number) => Date.now() - (performance.now() - at);
    const age = Number(details.getResponseHeader('Age') ?? 0) || 0;
    this.clock.observe(Date.parse(details.getResponseHeader('Date') ?? ''), age, back(loading.start), back(loading.end));
  }

  /** A list that was over before the first picture is not worth a picture of its end. */
  private notice(details: LevelDetails): void {
    if (!details.live && this.video.readyState === 0) this.finish();
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.listener.ended();
  }

  private mend(data: ErrorData): void {
    if (this.over) return;
    if (!data.fatal) return this.listener.mended(data.details);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !UNSUPPORTED.has(data.details) && !this.recovered) {
      this.recovered = true;
      this.hls.recoverMediaError();
      return;
    }
    this.over = true;
    this.listener.failed({ is: kind(data), detail: `${data.details}${data.reason ? `: ${data.reason}` : ''}` });
  }
}

/** The rendition nearest in bitrate to the one at `from` that is not `excluded`. */
export function nearest(
  levels: readonly { bitrate: number }[],
  from: number,
  excluded: (index: number) => boolean,
): number | undefined {
  const away = (index: number) => Math.abs(levels[index]!.bitrate - (levels[from]?.bitrate ?? 0));
  const others = levels.map((_, index) => index).filter((index) => index !== from && !excluded(index));
  return others.sort((a, b) => away(a) - away(b))[0];
}

const UNSUPPORTED = new Set<string>([
  Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR,
  Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR,
  Hls.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR,
]);

function kind(data: ErrorData): Failure['is'] {
  if (UNSUPPORTED.has(data.details)) return 'unsupported';
  return data.type === Hls.ErrorTypes.NETWORK_ERROR ? 'network' : 'media';
}

/** Media Source Extensions, in the form that phones have as well. */
export const hasMediaSource = (): boolean => Hls.isSupported();
