/** One stream: how it is, why, since when, and what the streamer should change. */
import { useEffect, useState } from 'preact/hooks';
import { ask, streamPath } from './api';
import { Chart, type Line } from './chart';
import { UNKNOWN, axisBitrate, bitrate, count, many, millis, percent, plain, seconds, span } from './format';
import { type Group, type Grouping, groupSuffers, pooled } from './groups';
import { Empty, Fact, Glyph, Score, State, Thumbnail, Timeline, toneOf } from './parts';
import * as store from './store';
import type { Health, Session, Share, Stream } from './types';
import { Ways } from './ways';

export function StreamPage({ name }: { name: string }) {
  const stream = store.stream.value;
  const row = store.rows.value?.get(name);
  if (!stream) {
    return (
      <>
        <Crumb name={name} />
        {store.streamError.value ? (
          <Empty title="There is nothing to show of this stream">
            <p>{store.streamError.value}</p>
            <p><a data-in href="/">See all streams</a></p>
          </Empty>
        ) : (
          <p class="quiet" role="status">Asking for the stream…</p>
        )}
      </>
    );
  }
  const health: Health = stream.health ?? { state: stream.state, since: null, reasons: [] };
  return (
    <article class="stream">
      <Crumb name={name} />
      <Head stream={stream} health={health} />
      <div class="upper">
        <div class="side">
          <Player stream={stream} live={health.state !== 'ended' && health.state !== 'offline'} />
          <Doctor stream={stream} />
          <Ways stream={stream} />
        </div>
        <div class="main">
          <Why health={health} />
          <Figures stream={stream} fps={row?.fps ?? null} />
          <Delay stream={stream} />
          <Groups stream={stream} />
        </div>
      </div>
      <Charts />
      <div class="lower">
        <section class="card pad" aria-labelledby="h-events">
          <h2 id="h-events">What happened</h2>
          <Timeline events={store.streamEvents.value} />
        </section>
        <div class="side">
          <ScoreCard stream={stream} />
          <Renditions stream={stream} />
        </div>
      </div>
      <Watching name={name} />
    </article>
  );
}

function Crumb({ name }: { name: string }) {
  return (
    <p class="crumb">
      <a data-in href="/"><Glyph name="back" />All streams</a>
      <span class="unseen">, stream {name}</span>
    </p>
  );
}

/** The viewers' port, as far as the node says it. */
function viewers(path: string): string {
  const ports = store.ports.value;
  const secure = location.protocol === 'https:' && ports?.https;
  const port = secure ? ports?.https : (ports?.http ?? 8080);
  return `${secure ? 'https' : 'http'}://${location.hostname}:${port}${path}`;
}

function Head({ stream, health }: { stream: Stream; health: Health }) {
  void store.beat.value;
  const since = stream.live_since;
  const facts = [
    stream.protocol?.toUpperCase(),
    stream.encoder,
    stream.ingest.codecs.join(' + '),
    since ? `on air for ${span((store.now() - since) / 1000)}` : null,
    stream.reconnects ? many(stream.reconnects, 'return') : null,
  ].filter(Boolean);
  return (
    <header class="head">
      <div>
        <h1 tabIndex={-1}>{stream.name} <State state={health.state} /></h1>
        <p class="quiet">{facts.join(' · ')}</p>
      </div>
      <nav aria-label="This stream elsewhere">
        <a class="button" href={viewers(`/watch/${stream.name}`)} target="_blank" rel="noopener">Watch<Glyph name="out" /></a>
        <a class="button" href={`/doctor/${stream.name}`} target="_blank" rel="noopener">Ingest doctor<Glyph name="out" /></a>
      </nav>
    </header>
  );
}

/** The picture; the player comes on demand, as it is a viewer like any other. */
function Player({ stream, live }: { stream: Stream; live: boolean }) {
  const [playing, setPlaying] = useState(false);
  if (playing && live) {
    return (
      <div class="player card">
        <iframe src={viewers(`/watch/${stream.name}`)} title={`Player of ${stream.name}`} allow="autoplay; fullscreen" allowFullScreen />
        <button type="button" class="small" onClick={() => setPlaying(false)}>Close the player</button>
      </div>
    );
  }
  return (
    <div class="player card">
      <div class="still">
        <Thumbnail name={stream.name} live={live} />
        {live && (
          <button type="button" onClick={() => setPlaying(true)} aria-label={`Play ${stream.name} here`}>
            <Glyph name="play" />
          </button>
        )}
      </div>
    </div>
  );
}

function Doctor({ stream }: { stream: Stream }) {
  return (
    <section class="card pad" aria-labelledby="h-advice" aria-live="polite">
      <h2 id="h-advice">Advice for the streamer</h2>
      {stream.advice.length === 0 ? (
        <p class="quiet">None: nothing that the encoder should do otherwise has been seen.</p>
      ) : (
        <ul class="advice">
          {stream.advice.map((advice) => (
            <li key={advice.text}>
              <Glyph name="warn" />
              <span>
                {advice.text}
                {advice.since && <small> Seen for {span((store.now() - advice.since) / 1000)}.</small>}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Why({ health }: { health: Health }) {
  if (!health.reasons.length) return null;
  return (
    <section class={`card pad reasons ${toneOf(health.reasons[0]!.severity)}`} aria-label="Why">
      <ul>
        {health.reasons.map((reason) => (
          <li key={reason.reason} class={toneOf(reason.severity)}>
            {reason.text} <small>for {span((store.now() - reason.since) / 1000)}</small>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Figures({ stream, fps }: { stream: Stream; fps: number | null }) {
  void store.secondsBeat.value;
  const { qoe, ingest } = stream;
  const grid = ingest.grid_millifps ? ingest.grid_millifps / 1000 : null;
  const keyframes = ingest.keyframe_interval_micros === null ? null : ingest.keyframe_interval_micros / 1e6;
  const shownFps = store.seconds.value.latest('fps') ?? fps;
  const waiting = qoe?.rebuffer_ratio ?? null;
  return (
    <dl class="facts card pad">
      <Fact name="Viewers">{count(stream.viewers)}</Fact>
      <Fact name="Score"><Score value={stream.score?.value ?? null} /></Fact>
      <Fact name="Bitrate">{bitrate(stream.bitrate)}</Fact>
      <Fact name="Frames a second" note={grid ? `of ${plain(grid, grid % 1 ? 2 : 0)}` : 'no steady rate'}>{plain(shownFps, 0)}</Fact>
      <Fact name="Keyframes every" tone={keyframes !== null && keyframes > 4 ? 'warn' : undefined}>{seconds(keyframes)}</Fact>
      <Fact name="Waiting" tone={waiting !== null && waiting > 0.02 ? 'bad' : undefined} note={qoe ? `of ${many(qoe.sessions, 'session')}` : undefined}>{percent(waiting)}</Fact>
      <Fact name="Start-up, p95" tone={(qoe?.startup.p95 ?? 0) > 3 ? 'warn' : undefined} note={qoe?.startup.p50 != null ? `half within ${seconds(qoe.startup.p50)}` : undefined}>{seconds(qoe?.startup.p95)}</Fact>
      <Fact name="Latency, p50" note={qoe?.latency.p95 != null ? `p95 ${seconds(qoe.latency.p95)}` : undefined}>{seconds(qoe?.latency.p50 ?? stream.latency?.total)}</Fact>
    </dl>
  );
}

const STAGES: Record<string, string> = { uplink: 'Uplink', transcode: 'Transcode', package: 'Package', relay: 'Relay', edge: 'Edge', player: 'Player' };

/** From capture to screen, stage by stage. */
function Delay({ stream }: { stream: Stream }) {
  const latency = stream.latency;
  if (!latency) return null;
  const sum = latency.stages.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0) || 1;
  return (
    <section class="card pad" aria-labelledby="h-delay">
      <h2 id="h-delay">From camera to screen <b>{seconds(latency.total)}</b></h2>
      {!latency.measured && <p class="quiet">No player has reported yet: this ends where a part can be fetched.</p>}
      <div class="stages" aria-hidden="true">
        {latency.stages.map(({ stage, seconds: took }) => took !== null && took > 0 && <i key={stage} class={stage} style={{ flexGrow: took / sum }} />)}
      </div>
      <dl class="stagelist">
        {latency.stages.map(({ stage, seconds: took, how }) => (
          <div key={stage} title={how}>
            <dt><i class={stage} aria-hidden="true" />{STAGES[stage] ?? stage}</dt>
            <dd>{seconds(took)}</dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>How each is known</summary>
        <ul>{latency.stages.map(({ stage, how }) => <li key={stage}><b>{STAGES[stage] ?? stage}</b>: {how}</li>)}</ul>
      </details>
    </section>
  );
}

const GROUPS: [Grouping, string][] = [['rendition', 'By rendition'], ['edge', 'By edge'], ['player', 'By player']];
const RENEW = 10_000;

/** How many there are of each group, and which of them wait. */
function Groups({ stream }: { stream: Stream }) {
  const by = stream.viewers_by;
  const [sessions, setSessions] = useState<Session[]>([]);
  const watched = stream.viewers > 0;
  useEffect(() => {
    if (!watched) return;
    const look = () => {
      if (document.hidden) return;
      ask<{ sessions: Session[] }>(`${streamPath(stream.name)}/sessions?limit=500`).then(({ sessions }) => setSessions(sessions), () => undefined);
    };
    look();
    const timer = window.setInterval(look, RENEW);
    return () => window.clearInterval(timer);
  }, [stream.name, watched]);
  if (!by || !watched) return null;
  return (
    <section class="card pad groups" aria-label="Viewers by group">
      {GROUPS.map(([key, title]) => <Bars key={key} title={title} shares={by[key]} groups={pooled(sessions, key)} />)}
    </section>
  );
}

function Bars({ title, shares, groups }: { title: string; shares: Share[]; groups: Map<string, Group> }) {
  const most = Math.max(1, ...shares.map(({ viewers }) => viewers));
  return (
    <div>
      <h2>{title}</h2>
      {shares.length === 0 && <p class="quiet">Not known</p>}
      <ul>
        {shares.slice(0, 12).map(({ name, viewers }) => {
          const group = groups.get(name);
          const ill = group !== undefined && groupSuffers(group);
          return (
            <li key={name} class={ill ? 'ill' : ''}>
              <span>{name}</span>
              <meter min={0} max={most} value={viewers} aria-label={`Viewers of ${name}`} />
              <b>{count(viewers)}</b>
              {group && group.waiting !== null && <small>{ill && <Glyph name="warn" />}{percent(group.waiting)} waiting</small>}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

const LATENCY: Line[] = [
  { column: 'latency_uplink', label: 'uplink', colour: 's1', fill: true },
  { column: 'latency_transcode', label: 'transcode', colour: 's2', fill: true },
  { column: 'latency_package', label: 'package', colour: 's3', fill: true },
  { column: 'latency_relay', label: 'relay', colour: 's4', fill: true },
  { column: 'latency_edge', label: 'edge', colour: 's5', fill: true },
  { column: 'latency_player', label: 'player', colour: 's6', fill: true },
];
const one = (column: string, colour = 'accent'): Line[] => [{ column, label: column, colour, fill: true }];
const SPANS: [number, string][] = [[60, '1 min'], [300, '5 min'], [900, '15 min']];

function Charts() {
  const [last, setLast] = useState(300);
  const common = { span: last };
  return (
    <section class="charts" aria-labelledby="h-charts">
      <div class="charthead">
        <h2 id="h-charts">Second by second</h2>
        <div class="segmented" role="group" aria-label="How far back">
          {SPANS.map(([value, label]) => (
            <button key={value} type="button" aria-pressed={last === value} onClick={() => setLast(value)}>{label}</button>
          ))}
        </div>
        <small class="quiet"><i class="key warn" aria-hidden="true" />degraded <i class="key bad" aria-hidden="true" />stalled or reconnecting</small>
      </div>
      <div class="grid">
        <Chart {...common} title="Bitrate from the publisher" lines={one('bitrate')} format={bitrate} ticks={axisBitrate} least={[0, 1e6]} hint="What the encoder sends, second by second" />
        <Chart {...common} title="Frames a second" lines={one('fps')} format={(value) => plain(value, 0)} least={[0, 30]} />
        <Chart {...common} title="Keyframe interval" lines={one('keyframe_interval')} format={seconds} least={[0, 2]} hint="Time between the two newest keyframes" />
        <Chart {...common} title="Audio before video" lines={one('av_skew')} format={millis} least={[-0.1, 0.1]} hint="Positive: the audio comes ahead of its picture" />
        <Chart {...common} title="Round trip to the publisher" lines={one('rtt')} format={millis} least={[0, 0.05]} />
        <Chart {...common} title="Arrival" lines={one('arrival_scatter')} format={millis} least={[0, 0.1]} hint="How much later than the earliest frames the latest ones come" />
        <Chart {...common} title="Encode speed" lines={one('encode_speed')} format={(value) => (value === null ? UNKNOWN : `${plain(value, 1)} ×`)} least={[0, 2]} hint="Times real time: below 1 the ladder falls behind" />
        <Chart {...common} title="Part published after" lines={one('part_lag')} format={millis} least={[0, 0.01]} hint="From a part's last frame to where it can be fetched" />
        <Chart {...common} title="Viewers" lines={one('viewers')} format={count} least={[0, 4]} />
        <Chart {...common} title="Waiting" lines={one('rebuffer', 'bad')} format={percent} least={[0, 0.02]} hint="Share of viewing time spent waiting" />
        <Chart {...common} title="Latency of players" lines={one('player_latency')} format={seconds} least={[0, 2]} />
        <Chart {...common} title="Latency by stage" lines={LATENCY} format={seconds} least={[0, 1]} stacked />
        <Chart {...common} title="Bitrate played" lines={one('bitrate_played')} format={bitrate} ticks={axisBitrate} least={[0, 1e6]} hint="Mean of what is on viewers' screens" />
      </div>
    </section>
  );
}

function ScoreCard({ stream }: { stream: Stream }) {
  const score = stream.score;
  if (!score) return null;
  return (
    <section class="card pad" aria-labelledby="h-score">
      <h2 id="h-score">Score <Score value={score.value} /></h2>
      <table class="plain">
        <thead><tr><th scope="col">Taken off for</th><th scope="col" class="num">Points</th><th scope="col" class="num">At most</th></tr></thead>
        <tbody>
          {score.parts.map((part) => (
            <tr key={part.part}>
              <th scope="row">{part.part}<small>{part.input === null ? 'not measured yet' : part.text}</small></th>
              <td class="num">{part.cost ? `−${plain(part.cost)}` : '0'}</td>
              <td class="num quiet">{part.most}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="quiet">{score.formula.startsWith('100') ? score.formula : `100 less: ${score.formula}`}</p>
    </section>
  );
}

function Renditions({ stream }: { stream: Stream }) {
  const transcode = stream.transcode;
  if (!transcode || (!transcode.renditions.length && !transcode.reasons.length)) return null;
  const tick = transcode.tick;
  return (
    <section class="card pad" aria-labelledby="h-rungs">
      <h2 id="h-rungs">Renditions made here</h2>
      {tick && <p class="quiet">{[tick.decoder && `decoder ${tick.decoder}`, tick.encoders?.length && `encoder ${tick.encoders.join(', ')}`, tick.preset, tick.cpu_share != null && `${percent(tick.cpu_share)} of this machine`].filter(Boolean).join(' · ')}</p>}
      {transcode.renditions.length > 0 && (
        <table class="plain">
          <thead><tr><th scope="col">Rendition</th><th scope="col">State</th><th scope="col" class="num">Bitrate</th><th scope="col" class="num">Speed</th></tr></thead>
          <tbody>
            {transcode.renditions.map((rendition) => {
              const rung = tick?.rungs.find(({ track }) => track === rendition.track);
              return (
                <tr key={rendition.track}>
                  <th scope="row">{rendition.name}</th>
                  <td>{rendition.state}{rendition.reason && <small>{rendition.reason}</small>}</td>
                  <td class="num">{bitrate(rung?.bits ?? rendition.bitrate)}</td>
                  <td class="num">{rung?.speed == null ? UNKNOWN : `${plain(rung.speed)} ×`}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {transcode.reasons.map((reason) => <p key={reason} class="quiet">{reason}</p>)}
    </section>
  );
}

/** Who watches, on demand: a list of up to a hundred sessions. */
function Watching({ name }: { name: string }) {
  const [sessions, setSessions] = useState<Session[] | null>(null);
  const [total, setTotal] = useState(0);
  const [error, setError] = useState('');
  const load = async () => {
    try {
      const answer = await ask<{ total: number; sessions: Session[] }>(`${streamPath(name)}/sessions?limit=100`);
      setSessions(answer.sessions);
      setTotal(answer.total);
      setError('');
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
    }
  };
  return (
    <details class="card pad watching" onToggle={(event) => event.currentTarget.open && void load()}>
      <summary>Who watches</summary>
      {error && <p role="alert">{error}</p>}
      {sessions?.length === 0 && <p class="quiet">No player has reported. Native players stay silent: they count as viewers, and nothing more is known of them.</p>}
      {sessions && sessions.length > 0 && (
        <>
          <p class="quiet">{sessions.length} of {many(total, 'session')}, most recently heard first. <button type="button" class="small" onClick={load}>Ask again</button></p>
          <div class="scroll" tabIndex={0} role="region" aria-label="Sessions">
            <table class="plain">
              <thead>
                <tr>{['Session', 'Player', 'Edge', 'State', 'Start-up', 'Waiting', 'Stalls', 'Bitrate', 'Height', 'Latency'].map((head) => <th scope="col" key={head}>{head}</th>)}</tr>
              </thead>
              <tbody>
                {sessions.map((session) => (
                  <tr key={session.session}>
                    <th scope="row"><code>{session.session}</code></th>
                    <td>{session.player}</td>
                    <td>{session.edge ?? UNKNOWN}</td>
                    <td>{session.outcome === 'playing' ? session.state : session.outcome}</td>
                    <td>{seconds(session.startup)}</td>
                    <td>{percent(session.rebuffer_ratio)}</td>
                    <td>{session.stalls}</td>
                    <td>{bitrate(session.bitrate)}</td>
                    <td>{session.height ?? UNKNOWN}</td>
                    <td>{seconds(session.latency)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </details>
  );
}

