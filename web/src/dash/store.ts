/** What the page knows, as signals: views read them, the link writes them. */
import { signal } from '@preact/signals';
import { Sparks } from './rows';
import { Seconds } from './series';
import type { Access, Alerts, Happening, Node, Overview, Ports, Row, Stream } from './types';

/** How the page hears the server. `polling`: there is no live stream, so it asks every two seconds. */
export type Link = 'connecting' | 'live' | 'polling' | 'lost';

export const link = signal<Link>('connecting');
/** When something was last heard, by this machine's clock. */
export const heardAt = signal(Date.now());
/** Why the last try failed, in the server's words. */
export const linkError = signal('');

export const access = signal<Access | null>(null);
/** The port wants a login before it says anything. */
export const loginWanted = signal(false);

export const overview = signal<Overview | null>(null);
/** Null until it is known. */
export const ports = signal<Ports | null>(null);
export const rows = signal<Map<string, Row> | null>(null);
export const nodes = signal<Node[] | null>(null);
export const alerts = signal<Alerts | null>(null);
/** Over all streams, newest last. */
export const happenings = signal<Happening[]>([]);

/** Why rows suffer, where the list does not say it: asked for each, once for each change of its state. */
export const whys = signal<Map<string, { health: string; text: string }>>(new Map());

export const sparks = new Sparks();
/** Counts the seconds, for what is drawn once a second. */
export const beat = signal(0);

/** The stream whose page is open. */
export const stream = signal<Stream | null>(null);
export const streamError = signal('');
export const streamEvents = signal<Happening[]>([]);
export const seconds = signal(new Seconds());
/** Counts what came into `seconds`, which is changed in place. */
export const secondsBeat = signal(0);

/** The server's clock less this machine's, in milliseconds. */
export const clockOffset = signal(0);
export const now = () => Date.now() + clockOffset.value;

export const mayDrain = () => access.value?.role === 'admin';
