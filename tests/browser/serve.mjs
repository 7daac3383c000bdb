// Serves the stock pages and the players' own bundles on a loopback port.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };

/** Where a request's path lies on disk; undefined for all but the pages and the bundles. */
function locate(pathname) {
  const clean = normalize(decodeURIComponent(pathname));
  if (clean.includes('..')) return undefined;
  if (clean.startsWith('/modules/')) return join(here, 'node_modules', clean.slice('/modules/'.length));
  return /^\/[a-z-]+\.html$/.test(clean) ? join(here, 'pages', clean) : undefined;
}

/** Resolves with `{ origin, close }`. `more` are further files by their paths. */
export async function serve(more = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = more[pathname] ?? locate(pathname);
    const found = file && (await stat(file).catch(() => undefined));
    if (!found?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => server.close(resolve) && server.closeAllConnections()),
  };
}
