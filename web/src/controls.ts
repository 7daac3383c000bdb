/** What the viewer sees and touches. */
import type { Level } from './playback';
import type { Face, Session } from './session';
import type { StreamName } from './stream';
import * as words from './words';

/** The controls fade after this long without a touch (milliseconds). */
const QUIET_AFTER = 3000;
/** A stall is talked about when it lasts (milliseconds). */
const HELD_UP_AFTER = 2000;
/** Farther behind than this (seconds) is no longer called live. */
const LIVE_WITHIN = 5;
const STEP_BACK = 5;
const VOLUME_STEP = 0.1;
const REMEMBERED = 'aqueduct.sound';

type Remembered = { on: boolean; volume: number };

export class Controls implements Face {
  private session: Session | undefined;
  private message: words.Message | null = null;
  private quietTimer = 0;

  constructor(
    private readonly stage: HTMLElement,
    private readonly video: HTMLVideoElement,
  ) {
    this.restoreSound();
    this.listen();
    this.changed();
  }

  serve(name: StreamName, session: Session): void {
    this.session = session;
    this.part('name').textContent = name.app === 'live' ? name.name : `${name.app}/${name.name}`;
    this.video.setAttribute('aria-label', `Live video: ${name.name}`);
    setInterval(() => this.tick(), 500);
  }

  say(message: words.Message | null): void {
    if (message === this.message) return;
    this.message = message;
    const box = this.part('message');
    box.toggleAttribute('data-shown', message !== null);
    box.toggleAttribute('data-busy', message?.busy ?? false);
    this.stage.toggleAttribute('data-tap', message === words.TAP);
    // Text that stays the same is not read out again by a screen reader.
    if (!message) return;
    this.write('title', message.title);
    this.write('detail', message.detail);
  }

  levels(levels: Level[]): void {
    const select = this.part<HTMLSelectElement>('level');
    const name = ({ height, bitrate }: Level) => (height ? `${height}p` : `${Math.round(bitrate / 1000)} kbit/s`);
    select.replaceChildren(
      new Option('Auto', '-1'),
      ...levels.map((level) => new Option(name(level), String(level.index))),
    );
    this.part('quality').hidden = levels.length < 2;
  }

  changed(): void {
    const { video, session } = this;
    const picture = session?.meter.picturing ?? false;
    if (picture && !session?.meter.stalled && !this.refusedToStart()) this.say(null);
    this.stage.toggleAttribute('data-picture', picture);
    this.show('play', video.paused ? 'play' : 'pause', video.paused ? 'Play' : 'Pause');
    const silent = video.muted || video.volume === 0;
    this.show('mute', silent ? 'silence' : 'sound', silent ? 'Turn sound on' : 'Mute');
    this.part<HTMLInputElement>('volume').value = String(silent ? 0 : Math.round(video.volume * 100));
    this.part('unmute').hidden = !(picture && silent && !video.paused && !this.part('unmute').dataset.done);
    const full = document.fullscreenElement !== null;
    this.show('fullscreen', full ? 'shrink' : 'grow', full ? 'Leave full screen' : 'Full screen');
    if (video.paused) this.wake();
  }

  private refusedToStart(): boolean {
    return this.message === words.TAP && this.video.paused;
  }

  /** Twice a second: the latency, and a word about a stall that lasts. */
  private tick(): void {
    const { session, video } = this;
    if (!session) return;
    const latency = session.latency();
    const live = session.playback !== undefined && session.viewing.following && !video.paused && (latency ?? 0) < LIVE_WITHIN;
    this.write('latency', latency === null || !session.playback ? '' : words.behind(latency));
    const button = this.part('live');
    button.toggleAttribute('data-live', live);
    button.setAttribute('aria-label', live ? 'Live' : 'Go to live');
    button.title = live ? 'Live' : 'Go to live';
    if (session.meter.stalledFor(performance.now()) > HELD_UP_AFTER && session.playback) this.say(words.HELD_UP);
    const level = this.part<HTMLSelectElement>('level');
    if (document.activeElement !== level) level.value = String(session.playback?.chosen ?? -1);
  }

  private listen(): void {
    const { stage, video } = this;
    const click = (id: string, action: () => void) => this.part(id).addEventListener('click', action);
    click('play', () => this.playOrPause());
    click('mute', () => this.setSound(video.muted || video.volume === 0));
    click('unmute', () => this.setSound(true));
    click('live', () => this.toLive());
    click('fullscreen', () => this.fullscreen());
    this.part('volume').addEventListener('input', (event) => this.setVolume(Number((event.target as HTMLInputElement).value) / 100));
    this.part('level').addEventListener('change', (event) => {
      this.session?.playback?.choose(Number((event.target as HTMLSelectElement).value));
    });
    video.addEventListener('click', () => this.tapped());
    video.addEventListener('dblclick', () => this.fullscreen());
    for (const event of ['play', 'pause', 'playing', 'volumechange', 'loadeddata']) video.addEventListener(event, () => this.changed());
    document.addEventListener('fullscreenchange', () => this.changed());
    document.addEventListener('keydown', (event) => this.key(event));
    for (const event of ['pointermove', 'pointerdown', 'focusin']) stage.addEventListener(event, () => this.wake());
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    this.wake();
    const on = event.target as HTMLElement;
    // A control that has the focus keeps the keys that it needs itself.
    if (on.matches('select, input') || (on.matches('button') && (event.key === ' ' || event.key === 'Enter'))) return;
    const action = this.keys()[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }

  private keys(): Record<string, () => void> {
    const { video } = this;
    return {
      ' ': () => this.playOrPause(),
      k: () => this.playOrPause(),
      m: () => this.setSound(video.muted || video.volume === 0),
      f: () => this.fullscreen(),
      l: () => this.toLive(),
      arrowup: () => this.setVolume(video.volume + VOLUME_STEP),
      arrowdown: () => this.setVolume(video.volume - VOLUME_STEP),
      arrowleft: () => this.back(),
      arrowright: () => this.toLive(),
    };
  }

  /** A mouse plays and pauses; a finger first asks for the controls. */
  private tapped(): void {
    if (matchMedia('(hover: hover)').matches || this.message === words.TAP) this.playOrPause();
    else this.wake();
  }

  /** Live video that was paused goes on at live: what was missed is leaving the server's window anyway. */
  private playOrPause(): void {
    const { video, session } = this;
    if (!session?.playback) return;
    if (!video.paused) {
      video.pause();
      return;
    }
    void video.play().then(() => this.changed(), () => undefined);
    if (session.meter.picturing) session.viewing.toLive();
  }

  private back(): void {
    const { video, session } = this;
    if (!session?.playback || video.buffered.length === 0) return;
    session.viewing.following = false;
    video.currentTime = Math.max(video.buffered.start(0), video.currentTime - STEP_BACK);
    this.tick();
  }

  private toLive(): void {
    this.session?.viewing.toLive();
    if (this.video.paused) void this.video.play().catch(() => undefined);
    this.tick();
  }

  private setSound(on: boolean): void {
    const { video } = this;
    video.muted = !on;
    if (on && video.volume === 0) video.volume = 0.5;
    if (on) this.part('unmute').dataset.done = 'yes';
    this.rememberSound();
    this.changed();
  }

  private setVolume(volume: number): void {
    this.video.volume = Math.min(1, Math.max(0, volume));
    this.setSound(this.video.volume > 0);
  }

  private fullscreen(): void {
    const { stage, video } = this;
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (stage.requestFullscreen) void stage.requestFullscreen().catch(() => undefined);
    else (video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
  }

  /** Shows the controls, and lets them fade again when nobody touches anything. */
  private wake(): void {
    this.stage.removeAttribute('data-quiet');
    clearTimeout(this.quietTimer);
    this.quietTimer = window.setTimeout(() => {
      this.stage.toggleAttribute('data-quiet', !this.video.paused && this.message === null);
    }, QUIET_AFTER);
  }

  private restoreSound(): void {
    const { on, volume } = remembered();
    this.video.volume = volume;
    this.video.muted = !on;
  }

  private rememberSound(): void {
    const { muted, volume } = this.video;
    try {
      localStorage.setItem(REMEMBERED, JSON.stringify({ on: !muted, volume: volume || 0.5 }));
    } catch {
      // A browser that keeps nothing asks for a tap each time.
    }
  }

  private show(id: string, icon: string, label: string): void {
    const button = this.part(id);
    if (button.getAttribute('aria-label') === label) return;
    button.setAttribute('aria-label', label);
    button.title = label;
    button.querySelector('use')!.setAttribute('href', `#icon-${icon}`);
  }

  private write(id: string, text: string): void {
    const element = this.part(id);
    if (element.textContent !== text) element.textContent = text;
  }

  private part<T extends HTMLElement = HTMLElement>(id: string): T {
    const found = this.stage.querySelector<T>(`#${id}`);
    if (!found) throw new Error(`the page has no #${id}`);
    return found;
  }
}

function remembered(): Remembered {
  try {
    const { on, volume } = JSON.parse(localStorage.getItem(REMEMBERED) ?? '{}') as Partial<Remembered>;
    return { on: on === true, volume: typeof volume === 'number' && volume > 0 && volume <= 1 ? volume : 1 };
  } catch {
    return { on: false, volume: 1 };
  }
}
