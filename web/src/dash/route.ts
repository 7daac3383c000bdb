/** Which view the address asks for. Links are plain links; the page follows those within itself. */
import { signal } from '@preact/signals';

export type Route =
  | { view: 'streams' }
  | { view: 'stream'; name: string }
  | { view: 'nodes' }
  | { view: 'alerts' }
  | { view: 'missing' };

export function read(path: string): Route {
  const parts = path.split('/').filter(Boolean).map(decoded);
  if (parts.length === 0 || (parts.length === 1 && (parts[0] === 'streams' || parts[0] === 'login'))) return { view: 'streams' };
  if (parts[0] === 'streams' && parts.length === 3) return { view: 'stream', name: `${parts[1]}/${parts[2]}` };
  if (parts.length === 1 && parts[0] === 'nodes') return { view: 'nodes' };
  if (parts.length === 1 && parts[0] === 'alerts') return { view: 'alerts' };
  return { view: 'missing' };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const streamHref = (name: string) => `/streams/${name.split('/').map(encodeURIComponent).join('/')}`;

export const route = signal<Route>({ view: 'streams' });

export function go(href: string): void {
  history.pushState(null, '', href);
  route.value = read(location.pathname);
  window.scrollTo(0, 0);
  // Who listens instead of looking is told where he is.
  requestAnimationFrame(() => document.querySelector<HTMLElement>('main h1')?.focus());
}

export function listen(): void {
  route.value = read(location.pathname);
  window.addEventListener('popstate', () => (route.value = read(location.pathname)));
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin || !link.hasAttribute('data-in')) return;
    event.preventDefault();
    go(link.pathname);
  });
}
