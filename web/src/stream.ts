/** Names of a stream as the page's address carries it, and what its multivariant playlist says. */

export interface StreamName {
  app: string;
  name: string;
  /** What lets the viewer in, where the stream is protected: it stood in the page's address. */
  ticket?: string;
}

/** The server's own rule for each half of a name. */
const HALF = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/;

/** The characters of a token: no URL changes them. */
const TICKET = /^\/t\/([A-Za-z0-9._~-]+)(?=\/)/;

/** Reads `/watch/APP/NAME` or `/t/TOKEN/watch/APP/NAME`; nothing else is a stream. */
export function fromPath(pathname: string): StreamName | undefined {
  const ticket = TICKET.exec(pathname)?.[1];
  const [empty, watch, app, name, ...rest] = pathname.replace(TICKET, '').replace(/\/$/, '').split('/');
  if (empty !== '' || watch !== 'watch' || rest.length > 0) return undefined;
  if (!valid(app) || !valid(name)) return undefined;
  return ticket === undefined ? { app, name } : { app, name, ticket };
}

/** Reads what a person types: `NAME` or `APP/NAME`; `live` is the app that is meant when none is given. */
export function fromText(text: string): StreamName | undefined {
  const parts = text.trim().replace(/^\/+|\/+$/g, '').split('/');
  const [app, name] = parts.length === 1 ? ['live', parts[0]] : parts;
  return parts.length <= 2 && valid(app) && valid(name) ? { app, name } : undefined;
}

function valid(half: string | undefined): half is string {
  return half !== undefined && HALF.test(half);
}

export const watchPath = ({ app, name }: StreamName) => `/watch/${app}/${name}`;
/** Everything of the stream lies below, so that every relative address in a playlist keeps the ticket. */
export const playlistPath = ({ app, name, ticket }: StreamName) =>
  `${ticket === undefined ? '' : `/t/${ticket}`}/${app}/${name}/index.m3u8`;

/**
 * What of a multivariant playlist a player must be attached anew for: which renditions there are, of what codec
 * and where. Measured bit rates change while a stream runs and are left out.
 */
export function shape(multivariant: string): string {
  return multivariant
    .split(/\r?\n/)
    .filter((line) => line !== '' && (!line.startsWith('#') || /^#EXT-X-(STREAM-INF|MEDIA):/.test(line)))
    .map((line) => line.replace(/,?(AVERAGE-)?BANDWIDTH=\d+/g, '').replace(/,?(SCORE|FRAME-RATE)=[\d.]+/g, ''))
    .join('\n');
}
