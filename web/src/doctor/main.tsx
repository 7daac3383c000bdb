/** The streamer's page: made to stand beside the preview in OBS, about 300 pixels wide. */
import { signal } from '@preact/signals';
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { ApiError, ask } from '../dash/api';
import { UNKNOWN, bitrate, count, millis, plain, seconds, span } from '../dash/format';
import '../dash/theme';
import { colour, shown } from '../dash/theme';
import type { Advice } from '../dash/types';
import { type Status, cured, headline, keyOf, named, newest, tone, unsaid } from './diagnosis';
import './doctor.css';

const EVERY = 1_500;
/** After answers that will not change by themselves. */
const SLOWLY = 15_000;
const CURED_STAYS = 12_000;

const name = named(location.pathname);
const status = signal<Status | null>(null);
const trouble = signal<{ status: number; text: string } | null>(null);
const healed = signal<{ advice: Advice; until: number }[]>([]);
const key = signal(keyOf(location.hash));
let timer: number | undefined;

async function look(): Promise<void> {
  window.clearTimeout(timer);
  if (!name) return;
  let next = EVERY;
  try {
    const headers: Record<string, string> = key.value ? { Authorization: `Bearer ${key.value}` } : {};
    const answer = await ask<Status>(`/doctor/${name}/status.json`, { headers });
    const now = Date.now();
    const gone = status.value ? cured(status.value.advice, answer.advice) : [];
    const stays = healed.value.filter(({ advice, until }) => until > now && !answer.advice.some((a) => a.advice === advice.advice));
    healed.value = answer.health.state === 'live' || answer.health.state === 'degraded' ? [...stays, ...gone.map((advice) => ({ advice, until: now + CURED_STAYS }))] : [];
    status.value = answer;
    trouble.value = null;
  } catch (error) {
    const code = error instanceof ApiError ? error.status : 0;
    trouble.value = { status: code, text: error instanceof Error ? error.message : String(error) };
    if (code === 401 || code === 403 || code === 429) {
      status.value = null;
      // A wrong key stays wrong: asking on would only lock the address out.
      next = code === 429 ? SLOWLY * 4 : 0;
    }
  }
  if (next) timer = window.setTimeout(look, next);
}

function App() {
  if (!name) return <Told title="Which stream?" text="This page's address ends in the stream's name: /doctor/live/show" />;
  const is = trouble.value?.status;
  if (is === 401 || is === 403) return <Key />;
  if (is === 429) return <Told title="Too many wrong keys" text="This address is locked out for five minutes. Then load the page again with the right key." />;
  const now = status.value;
  if (!now) return trouble.value ? <Told title="No connection" text={trouble.value.text} again /> : <p class="asking" role="status">Listening to your stream…</p>;
  const light = tone(now);
  return (
    <main data-tone={light}>
      {trouble.value && <p class="lost" role="alert">The server does not answer; this is from {span((Date.now() - now.at) / 1000)} ago. It tries again by itself.</p>}
      <header>
        <span class={`light ${light}`} aria-hidden="true" />
        <div>
          <h1>{headline(now)}</h1>
          <p>{now.name}{now.live_since && now.health.state !== 'offline' && now.health.state !== 'ended' ? ` · ${span((now.at - now.live_since) / 1000)} on air` : ''}</p>
        </div>
      </header>
      <div aria-live="polite">
        {now.advice.map((advice) => <Advise key={advice.advice} advice={advice} at={now.at} />)}
        {unsaid(now).map((reason) => <p key={reason.reason} class="reason">{reason.text}</p>)}
        {healed.value.map(({ advice }) => <p key={advice.advice} class="cured"><b>Cured.</b> {topic(advice)}</p>)}
      </div>
      {light === 'off' ? <Begin /> : <Figures now={now} />}
    </main>
  );
}

/** The first sentence's subject is enough to know it again. */
const topic = (advice: Advice) => `${advice.text.split(/[:,]/)[0]}: not any more.`;

function Advise({ advice, at }: { advice: Advice; at: number }) {
  const cut = advice.text.indexOf(': ');
  const [what, how] = cut > 0 ? [advice.text.slice(0, cut), advice.text.slice(cut + 2)] : [advice.text, ''];
  return (
    <section class="advice">
      <h2>{what}</h2>
      {how && <p>{how.charAt(0).toUpperCase() + how.slice(1)}</p>}
      {advice.since && at - advice.since > 5_000 && <small>for {span((at - advice.since) / 1000)}</small>}
    </section>
  );
}

function Figures({ now }: { now: Status }) {
  const keyframes = newest(now, 'keyframe_interval');
  const skew = newest(now, 'av_skew');
  const rtt = newest(now, 'rtt');
  const fps = newest(now, 'fps');
  return (
    <>
      <dl>
        <Big name="Bitrate" value={bitrate(newest(now, 'bitrate'))} />
        <Big name="Frames a second" value={plain(fps, 0)} />
        <Big name="Keyframe every" value={seconds(keyframes)} bad={keyframes !== null && keyframes > 4} />
        <Big name="Audio ahead" value={millis(skew)} bad={skew !== null && Math.abs(skew) > 0.08} />
        <Big name="Round trip" value={rtt === null ? UNKNOWN : millis(rtt)} bad={rtt !== null && rtt > 0.2} />
        <Big name="Viewers" value={count(now.viewers)} />
      </dl>
      <Minute now={now} />
      <p class="fine">{[now.protocol?.toUpperCase(), now.encoder, now.codecs.join(' + ')].filter(Boolean).join(' · ')}</p>
    </>
  );
}

function Big({ name, value, bad }: { name: string; value: string; bad?: boolean }) {
  const [figure, unit] = value.split(' ');
  return (
    <div class={bad ? 'bad' : ''}>
      <dt>{name}</dt>
      <dd>{figure}{unit && <small> {unit}</small>}</dd>
    </div>
  );
}

/** The last minute's bitrate: gaps of an uplink show at once. */
function Minute({ now }: { now: Status }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = shown.value;
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const line = colour('accent');
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: 72,
        padding: [4, 0, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false }, y: { range: (_plot, _min, max) => [0, (max || 1) * 1.15] } },
        axes: [{ show: false }, { show: false }],
        series: [{}, { stroke: line, width: 2, fill: `${line}2a`, points: { show: false } }],
      },
      [[], []],
      element,
    );
    plot.current = made;
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 72 }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      made.destroy();
    };
  }, [theme]);
  useEffect(() => {
    const values = now.series.columns.bitrate ?? [];
    plot.current?.setData([values.map((_, i) => i), values]);
  }, [now, theme]);
  return (
    <figure>
      <div ref={host} role="img" aria-label={`Bitrate of the last minute, now ${bitrate(newest(now, 'bitrate'))}`} />
      <figcaption>Bitrate, last minute</figcaption>
    </figure>
  );
}

function Begin() {
  return (
    <section class="begin">
      <p>Press <b>Start Streaming</b> in your encoder. This page wakes up by itself and tells you what to change, if anything.</p>
    </section>
  );
}

function Key() {
  const [value, setValue] = useState('');
  const submit = (event: Event) => {
    event.preventDefault();
    key.value = value.trim();
    // Behind the hash no server and no log sees it; a dock keeps its address, so that it is asked for once.
    history.replaceState(null, '', `#key=${encodeURIComponent(key.value)}`);
    trouble.value = null;
    void look();
  };
  return (
    <main data-tone="off">
      <form onSubmit={submit}>
        <h1>The stream's key, please</h1>
        <p>{key.value ? 'This key does not open this stream. ' : ''}It is the SECRET that stands behind <code>?key=</code> in your encoder's stream key.</p>
        <label for="key">Key of {name}</label>
        <input id="key" type="password" autocomplete="off" value={value} onInput={(event) => setValue(event.currentTarget.value)} required autofocus />
        <button type="submit">Open</button>
      </form>
    </main>
  );
}

function Told({ title, text, again }: { title: string; text: string; again?: boolean }) {
  return (
    <main data-tone="off">
      <h1>{title}</h1>
      <p>{text}</p>
      {again && <button type="button" onClick={() => void look()}>Try again</button>}
    </main>
  );
}

window.addEventListener('hashchange', () => {
  key.value = keyOf(location.hash);
  trouble.value = null;
  void look();
});
if (name) document.title = `${name} – Ingest doctor`;
render(<App />, document.getElementById('app')!);
void look();
