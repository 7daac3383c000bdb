/** Which viewers suffer: waiting pooled over the sessions of each group (QOE-19: sums are divided, ratios never averaged). Pure. */
import type { Session } from './types';

export interface Group {
  sessions: number;
  /** Share of viewing time spent waiting; null where nobody of the group has played. */
  waiting: number | null;
}

export type Grouping = 'rendition' | 'edge' | 'player';

const nameOf: Record<Grouping, (session: Session) => string | null> = {
  rendition: ({ height }) => (height ? `${height}p` : null),
  edge: ({ edge }) => edge,
  player: ({ player }) => player,
};

export function pooled(sessions: Session[], by: Grouping): Map<string, Group> {
  const sums = new Map<string, { sessions: number; play: number; stall: number }>();
  for (const session of sessions) {
    const name = nameOf[by](session);
    if (name === null) continue;
    const sum = sums.get(name) ?? { sessions: 0, play: 0, stall: 0 };
    sums.set(name, { sessions: sum.sessions + 1, play: sum.play + (session.play ?? 0), stall: sum.stall + (session.stall ?? 0) });
  }
  return new Map([...sums].map(([name, { sessions, play, stall }]) => [name, { sessions, waiting: play + stall > 0 ? stall / (play + stall) : null }]));
}

/** More waiting than a viewer bears, in a group that is more than one unlucky viewer. */
export const groupSuffers = (group: Group) => group.sessions >= 3 && (group.waiting ?? 0) > 0.02;
