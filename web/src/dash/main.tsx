/** The operator's pages. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { AlertsPage } from './alerts';
import { ago } from './format';
import { follow, login, logout, retry, start } from './link';
import { Nodes } from './nodes';
import { Empty, Glyph } from './parts';
import { listen, route } from './route';
import * as store from './store';
import { StreamPage } from './stream';
import { Streams } from './streams';
import { type Theme, choose, theme } from './theme';
import './dash.css';

function App() {
  const at = route.value;
  const name = at.view === 'stream' ? at.name : null;
  useEffect(() => {
    follow(name);
    document.title = `${name ?? { streams: 'Streams', nodes: 'Nodes', alerts: 'Alerts', missing: 'Not here', stream: '' }[at.view]} – Aqueduct`;
  }, [at.view, name]);
  if (store.loginWanted.value) return <Login />;
  return (
    <>
      <a class="skip" href="#main">To the content</a>
      <Bar />
      <Lost />
      <main id="main">
        {at.view === 'streams' && <Streams />}
        {at.view === 'stream' && <StreamPage key={at.name} name={at.name} />}
        {at.view === 'nodes' && <Nodes />}
        {at.view === 'alerts' && <AlertsPage />}
        {at.view === 'missing' && (
          <Empty title="There is no such page"><p><a data-in href="/">See all streams</a></p></Empty>
        )}
      </main>
      <Foot />
    </>
  );
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#0b6e99" />
      <path d="M6 24V14a5 5 0 0 1 10 0v10m0-10a5 5 0 0 1 10 0v10" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" />
    </svg>
  );
}

function Bar() {
  const view = route.value.view;
  const active = store.alerts.value?.active.filter((alert) => !alert.suppressed_by).length ?? 0;
  const current = (is: boolean) => (is ? ('page' as const) : undefined);
  return (
    <header class="bar">
      <a data-in class="brand" href="/"><Logo /><b>Aqueduct</b>{store.overview.value && <small>{store.overview.value.node}</small>}</a>
      <nav aria-label="Pages">
        <a data-in href="/" aria-current={current(view === 'streams' || view === 'stream')}>Streams</a>
        <a data-in href="/nodes" aria-current={current(view === 'nodes')}>Nodes</a>
        <a data-in href="/alerts" aria-current={current(view === 'alerts')}>Alerts{active > 0 && <span class="badge">{active}<span class="unseen"> active</span></span>}</a>
      </nav>
      <span class="space" />
      <LinkState />
      <ThemeButton />
      {store.access.value?.login && <button type="button" class="small" onClick={() => void logout()}>Log out</button>}
    </header>
  );
}

const LINK = {
  connecting: ['info', 'Connecting'],
  live: ['good', 'Live'],
  polling: ['info', 'Every 2 s'],
  lost: ['bad', 'No connection'],
} as const;

function LinkState() {
  const [tone, word] = LINK[store.link.value];
  return <span key={tone} class={`pill link ${tone}`} role="status" title={store.link.value === 'polling' ? 'Server-sent events do not come through; the page asks every two seconds instead.' : undefined}><i aria-hidden="true" />{word}</span>;
}

const NEXT: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };

function ThemeButton() {
  const now = theme.value;
  const words = { auto: 'as the system', light: 'light', dark: 'dark' }[now];
  return (
    <button type="button" class="icon" onClick={() => choose(NEXT[now])} aria-label={`Colours: ${words}. Change`} title={`Colours: ${words}`}>
      <Glyph name={now} />
    </button>
  );
}

/** What is on the page is old: says so, why, and since when. */
function Lost() {
  void store.beat.value;
  if (store.link.value !== 'lost') return null;
  return (
    <div class="lost" role="alert">
      <span><b>The connection is lost.</b> {store.linkError.value} What stands here is from {ago(store.heardAt.value, Date.now())}. It tries again by itself.</span>
      <button type="button" onClick={retry}>Try now</button>
    </div>
  );
}

function Login() {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    setBusy(true);
    try {
      await login(String(new FormData(form).get('password')));
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
      form.querySelector('input')?.select();
    }
    setBusy(false);
  };
  return (
    <main class="login">
      <form class="card pad" onSubmit={submit}>
        <h1><Logo /> Aqueduct</h1>
        <label for="password">The operator's password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" autofocus required aria-describedby="wrong" />
        <button type="submit" class="primary" disabled={busy}>Log in</button>
        <p id="wrong" role="alert" class="wrong">{error}</p>
        <p class="quiet">The server printed it at its first start. <code>admin.password</code> in its configuration sets another one.</p>
      </form>
    </main>
  );
}

function Foot() {
  const overview = store.overview.value;
  return (
    <footer class="quiet">
      {overview && <>Aqueduct {overview.version} · {overview.role} · </>}
      <a href="/metrics">Metrics</a> · <a href="/api/v1/openapi.json">API</a>
    </footer>
  );
}

listen();
render(<App />, document.getElementById('app')!);
void start();
