/** Origins and edges: their load, their caches, how far behind they are, and the way to take one out of service. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { post } from './api';
import { UNKNOWN, bitrate, count, percent, plain, seconds, span } from './format';
import { Empty, Fact } from './parts';
import * as store from './store';
import type { Node } from './types';

export function Nodes() {
  const nodes = store.nodes.value;
  const [leaving, setLeaving] = useState<Node | null>(null);
  return (
    <>
      <h1 tabIndex={-1}>Nodes</h1>
      {nodes === null && <p class="quiet" role="status">Asking for the nodes…</p>}
      {nodes?.length === 0 && <Empty title="No node is known"><p>The directory of nodes answers nothing yet.</p></Empty>}
      <div class="nodes">
        {nodes?.map((node) => <Card key={node.node} node={node} drain={() => setLeaving(node)} />)}
      </div>
      {nodes?.length === 1 && (
        <p class="quiet">This node stands alone. Another one takes over viewers with <code>aqueduct edge --origin HOST:4443</code>; nodes see each other here with <code>cluster.nats</code>.</p>
      )}
      {leaving && <Confirm node={leaving} close={() => setLeaving(null)} />}
    </>
  );
}

const STATE = { up: ['good', 'Up'], draining: ['warn', 'Draining'], gone: ['bad', 'Gone'] } as const;

function Card({ node, drain }: { node: Node; drain: () => void }) {
  void store.beat.value;
  const [tone, word] = STATE[node.state] ?? ['off', node.state];
  return (
    <section class={`card pad node ${node.state}`} aria-label={`Node ${node.node}`}>
      <header>
        <h2>{node.node} {node.this && <small>this node</small>}</h2>
        <span class={`pill ${tone}`}><i aria-hidden="true" />{word}</span>
      </header>
      <p class="quiet">{node.role} · version {node.version}{node.state === 'gone' && ` · silent for ${span((store.now() - node.seen) / 1000)}`}</p>
      {node.state === 'gone' ? <p>Its last figures are old and are not shown. Look whether its process runs, and whether it reaches the others.</p> : <Readings node={node} />}
      {store.mayDrain() && node.drain && node.state === 'up' && (
        <button type="button" class="danger" onClick={drain}>Drain…</button>
      )}
    </section>
  );
}

function Readings({ node }: { node: Node }) {
  const failing = node.requests > 0 ? node.errors / node.requests : 0;
  return (
    <>
      <label class="load">
        <span>Load</span>
        <meter min={0} max={1} low={0.7} high={0.9} optimum={0} value={node.load ?? 0} aria-label={`Load of ${node.node}`} />
        <b>{percent(node.load)}</b>
      </label>
      <dl class="facts">
        <Fact name="Viewers" note={`${count(node.connections)} connections`}>{count(node.viewers)}</Fact>
        <Fact name="Going out">{bitrate(node.bitrate_out)}</Fact>
        <Fact name="Requests a second" note={`${count(node.blocked)} held`}>{count(node.requests)}</Fact>
        <Fact name="Errors" tone={failing > 0.005 ? (failing > 0.02 ? 'bad' : 'warn') : undefined} note={node.shed > 0 ? `${plain(node.shed)} shed a second` : undefined}>{percent(failing)}</Fact>
        <Fact name="Answers within, p95">{seconds(node.answer_p95)}</Fact>
        {node.cache && <Fact name="Cache hits" tone={node.cache.ratio !== null && node.cache.ratio < 0.9 ? 'warn' : undefined} note={`${plain(node.cache.misses)} misses a second`}>{percent(node.cache.ratio)}</Fact>}
        {node.relay && <Fact name="Relay lag, p95" tone={(node.relay.lag_p95 ?? 0) > 0.6 ? 'warn' : undefined} note={[`p50 ${seconds(node.relay.lag_p50)}`, node.relay.lost ? `${node.relay.lost} lost` : ''].filter(Boolean).join(', ')}>{seconds(node.relay.lag_p95)}</Fact>}
        {node.relay?.edges != null && <Fact name="Edges fed">{count(node.relay.edges)}</Fact>}
        {node.relay?.upstreams != null && <Fact name="Fed by">{node.relay.upstreams || UNKNOWN}</Fact>}
      </dl>
    </>
  );
}

/** A drain cannot be taken back: it is asked for twice. */
function Confirm({ node, close }: { node: Node; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [state, setState] = useState<'asking' | 'sent' | string>('asking');
  useEffect(() => dialog.current?.showModal(), []);
  const drain = async () => {
    try {
      await post(node.drain ?? '/api/v1/drain');
      setState('sent');
    } catch (error) {
      setState(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="h-drain">
      <h2 id="h-drain">Drain {node.node}?</h2>
      {state === 'sent' ? (
        <>
          <p role="status">It is draining. It ends when its viewers have gone elsewhere.</p>
          <form method="dialog"><button autofocus>Close</button></form>
        </>
      ) : (
        <>
          <p>
            {node.viewers > 0 ? `Its ${count(node.viewers)} viewers are sent to other edges` : 'Nobody watches there'}
            {node.role === 'edge' ? '' : ', streams go to a standby where there is one'}, and then <b>the process ends</b>. It stays away until it is started again.
          </p>
          {node.role !== 'edge' && <p>Publishers that push to it are disconnected.</p>}
          {state !== 'asking' && <p role="alert" class="wrong">{state}</p>}
          <form method="dialog" class="buttons">
            <button autofocus>Cancel</button>
            <button type="button" class="danger" onClick={drain}>Drain {node.node}</button>
          </form>
        </>
      )}
    </dialog>
  );
}
