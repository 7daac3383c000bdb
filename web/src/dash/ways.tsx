/** Where a stream comes from, where it has several sources, and where it is sent on to. */
import { bitrate, seconds } from './format';
import type { Stream } from './types';

const SOURCE = { 'on-air': 'On air', standby: 'Stands by', absent: 'Away' };
const TARGET = { connecting: 'Connecting', live: 'Live', failed: 'Failed', ended: 'Ended' };

export function Ways({ stream }: { stream: Stream }) {
  const { sources = [], push = [], last_switch: last } = stream;
  if (!sources.length && !push.length) return null;
  return (
    <section class="card pad" aria-labelledby="h-ways">
      <h2 id="h-ways">Sources and targets</h2>
      {last && <p class="quiet">{last.from ? `${last.to} took over from ${last.from}: ` : ''}{last.text}</p>}
      <table class="plain">
        <thead><tr><th scope="col">Name</th><th scope="col">State</th></tr></thead>
        <tbody>
          {sources.map(({ name, state, protocol, encoder, problem }) => (
            <tr key={`from ${name}`}>
              <th scope="row">{name}</th>
              <td>
                {SOURCE[state]}
                {problem ? <small role="alert">{problem}</small> : state !== 'absent' && <small>{[protocol?.toUpperCase(), encoder].filter(Boolean).join(' · ')}</small>}
              </td>
            </tr>
          ))}
          {push.map(({ target, state, reason, again_millis: again, bitrate: bits }) => (
            <tr key={`to ${target}`}>
              <th scope="row">{target}</th>
              <td>
                {TARGET[state]}
                {state === 'live' && <small>{bitrate(bits)}</small>}
                {state === 'failed' && <small role="alert">{reason} Tried again after {seconds((again ?? 0) / 1000)}.</small>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
