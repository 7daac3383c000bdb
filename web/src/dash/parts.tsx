/** Small pieces that several views share. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { streamPath } from './api';
import { ago, clock } from './format';
import { streamHref } from './route';
import * as store from './store';
import type { Happening, HealthState, Severity } from './types';

const WORDS: Record<HealthState, string> = {
  offline: 'Off air',
  starting: 'Starting',
  live: 'Live',
  degraded: 'Degraded',
  stalled: 'Stalled',
  reconnecting: 'Reconnecting',
  ended: 'Ended',
};
const TONE: Record<HealthState, string> = {
  offline: 'off',
  starting: 'info',
  live: 'good',
  degraded: 'warn',
  stalled: 'bad',
  reconnecting: 'bad',
  ended: 'off',
};

/** The state in a word, a colour and a shape: colour alone tells some people nothing. */
export function State({ state }: { state: HealthState }) {
  // A key of its own for each state: Chromium 156 does not always restyle what is inside when only the class changes.
  return (
    <span key={state} class={`pill ${TONE[state] ?? 'off'}`}>
      <i aria-hidden="true" />
      {WORDS[state] ?? state}
    </span>
  );
}

export const toneOf = (severity: Severity) => (severity === 'critical' ? 'bad' : severity === 'warning' ? 'warn' : 'info');

export function Tag({ severity }: { severity: Severity }) {
  return <span class={`pill ${toneOf(severity)}`}><i aria-hidden="true" />{severity}</span>;
}

/** 0 to 100; the ring says it to eyes, the text to ears. */
export function Score({ value }: { value: number | null }) {
  if (value === null) return <span class="score off" title="Nothing has been measured for a score yet">–</span>;
  const tone = value >= 90 ? 'good' : value >= 70 ? 'warn' : 'bad';
  return <span class={`score ${tone}`}>{Math.round(value)}</span>;
}

const RENEW = 5_000;
/** After an answer that the first picture is on its way. */
const COMING = 2_000;
const REFUSED = 60_000;
/** When a stream had no picture, so that it is not asked for again at every scroll. */
const without = new Map<string, number>();

/** A picture of the stream, made anew while it is looked at. */
export function Thumbnail({ name, live }: { name: string; live: boolean }) {
  const [url, setUrl] = useState('');
  const last = useRef('');
  useEffect(() => {
    let over = false;
    let timer: number | undefined;
    const turn = async () => {
      let wait = RENEW;
      if (!document.hidden && Date.now() - (without.get(name) ?? -Infinity) > REFUSED) {
        const answer = await fetch(`${streamPath(name)}/thumbnail`, { cache: 'no-cache' }).catch(() => null);
        if (over) return;
        if (answer?.ok) {
          const next = URL.createObjectURL(await answer.blob());
          if (last.current) URL.revokeObjectURL(last.current);
          last.current = next;
          setUrl(next);
        } else if (answer && answer.status === 404) {
          // It is made at the stream's origin alone, and what was seen of it here is old.
          without.set(name, Date.now());
          setUrl('');
        } else if (answer?.status === 503) {
          wait = COMING;
        }
      }
      if (!over) timer = window.setTimeout(turn, wait);
    };
    if (live) void turn();
    return () => {
      over = true;
      window.clearTimeout(timer);
      if (last.current) URL.revokeObjectURL(last.current);
      last.current = '';
      setUrl('');
    };
  }, [name, live]);
  return (
    <span class="thumb" data-empty={url ? undefined : ''}>
      {url ? <img src={url} alt="" /> : <Glyph name="film" />}
    </span>
  );
}

const GLYPHS: Record<string, ComponentChildren> = {
  film: <path d="M4 6.5A1.5 1.5 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500zM10.200 9.200v5.600l4.600-2.800z" />,
  play: <path d="M8 5.100v13.800a1 1 0 0 0 1.500.9l11-6.900a1 1 0 0 0 0-1.700l-11-7A1 1 0 0 0 8 5.100z" fill="currentColor" stroke="none" />,
  back: <path d="M15 5l-7 7 7 7" />,
  out: <path d="M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5" />,
  check: <path d="M5 13l4.500 4.500L19 7.500" />,
  warn: <path d="M12 4 2.800 20h18.400zM12 10v4.500M12 17.200v.1" />,
  light: <path d="M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M4 12H2M22 12h-2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5" />,
  dark: <path d="M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z" />,
  auto: <path d="M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18" />,
  search: <path d="M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM20 20l-4.800-4.800" />,
};

export function Glyph({ name }: { name: string }) {
  return (
    <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">
      {GLYPHS[name]}
    </svg>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty card">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** A figure with its name. */
export function Fact({ name, tone, note, children }: { name: string; tone?: string | undefined; note?: string | undefined; children: ComponentChildren }) {
  return (
    <div class={`fact ${tone ?? ''}`}>
      <dt>{name}</dt>
      <dd>
        {children}
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

/** Times of day with how long ago it was; moves on with the page's beat. */
export function When({ at }: { at: number }) {
  void store.beat.value;
  return (
    <time dateTime={new Date(at).toISOString()} title={new Date(at).toLocaleString()}>
      <span>{clock(at)}</span> <small>{ago(at, store.now())}</small>
    </time>
  );
}

/** What happened, newest first. */
export function Timeline({ events, named }: { events: Happening[]; named?: boolean }) {
  if (!events.length) return <p class="quiet">Nothing yet. Publishers that come and go, faults and their cures will stand here.</p>;
  return (
    <ol class="timeline" tabIndex={0} aria-label="What happened, newest first">
      {[...events].reverse().slice(0, 100).map((event) => (
        <li key={`${event.at} ${event.kind} ${event.text}`} class={toneOf(event.severity)}>
          <When at={event.at} />
          <span class="what">
            <b>{event.kind}</b>
            {named && event.stream && <a data-in href={streamHref(event.stream)}>{event.stream}</a>} {event.text}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** Text with a button that copies it. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      window.setTimeout(() => setDone(false), 1_500);
    } catch {
      // Without leave for the clipboard the text can still be marked by hand.
    }
  };
  return (
    <span class="copy">
      <code>{text}</code>
      <button type="button" class="small" onClick={copy} aria-label={`Copy ${label}`}>{done ? 'Copied' : 'Copy'}</button>
    </span>
  );
}
