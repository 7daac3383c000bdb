import { describe, expect, it } from 'vitest';
import { forgotten, remind, type ListedPart } from '../src/parts';

/** A list of parts of 0.2 s from 10 s on, five to a segment; `x` is loaded, `.` is not, `g` is a gap. */
function list(marks: string): (ListedPart & { elementaryStreams: { video: object | null } })[] {
  return [...marks].map((mark, index) => ({
    start: 10 + index * 0.2,
    end: 10 + (index + 1) * 0.2,
    gap: mark === 'g',
    fragment: { sn: Math.floor(index / 5) },
    elementaryStreams: { video: mark === 'x' ? {} : null },
    get loaded() {
      return this.elementaryStreams.video !== null;
    },
  }));
}

const places = (marks: string, buffered: [number, number][]) => {
  const parts = list(marks);
  return forgotten(parts, buffered).map((part) => parts.indexOf(part)).sort();
};

describe('forgotten parts', () => {
  it('are those before a loaded one of the same segment', () => {
    expect(places('xxxxx.xxxx.', [[9, 12.000001]])).toEqual([5]);
    expect(places('..xxx', [[9, 11]])).toEqual([0, 1]);
    expect(places('xxxxx', [[9, 11]])).toEqual([]);
  });
  it('are not those that were never loaded, lie in another segment, or are gaps', () => {
    expect(places('..xxx', [[10.4, 11]])).toEqual([]);
    expect(places('....xx', [[9, 11.2]])).toEqual([0, 1, 2, 3]);
    expect(places('xxxx.x....', [[9, 11.2]])).toEqual([]);
    expect(places('g.xxx', [[9, 11]])).toEqual([1]);
  });
  it('are marked like their neighbours', () => {
    const parts = list('.xxxx.');
    expect(remind(parts, [[9, 11]])).toBe(1);
    expect(parts.map((part) => part.loaded)).toEqual([true, true, true, true, true, false]);
  });
});
