/**
 * hls.js 1.7 now and then forgets that it has a part: the one before a loaded part of the same segment is not marked.
 * It then looks for what is missing in a segment that it has whole, finds nothing to do, and loads nothing until the
 * next segment is complete: a second without media. Marks that stand in the list repair it.
 */

/** As much of hls.js's `Part` as is needed. */
export interface ListedPart {
  readonly start: number;
  readonly end: number;
  readonly loaded: boolean;
  readonly gap?: boolean;
  readonly fragment: { readonly sn: unknown };
  elementaryStreams: object;
}

/** What counts as covered although it is not, in seconds: less than a frame. */
const ROUNDING = 0.01;

/** The parts that are buffered, lie before a loaded part of their segment, and are not marked. */
export function forgotten<P extends ListedPart>(parts: readonly P[], buffered: readonly [number, number][]): P[] {
  const covered = (part: P) =>
    buffered.some(([start, end]) => start <= part.start + ROUNDING && part.end <= end + ROUNDING);
  let next: P | undefined;
  const found: P[] = [];
  for (const part of [...parts].reverse()) {
    const before = next !== undefined && next.fragment.sn === part.fragment.sn;
    if (before && !part.loaded && !part.gap && covered(part)) found.push(part);
    // One that follows a forgotten one back counts as loaded itself.
    if (part.loaded || found.at(-1) === part) next = part;
  }
  return found;
}

/** Marks them as their loaded neighbours are. */
export function remind(parts: readonly ListedPart[], buffered: readonly [number, number][]): number {
  const found = forgotten(parts, buffered);
  for (const part of found) {
    const neighbour = parts.find((other) => other.loaded && other.fragment.sn === part.fragment.sn);
    if (neighbour) part.elementaryStreams = { ...neighbour.elementaryStreams };
  }
  return found.length;
}
