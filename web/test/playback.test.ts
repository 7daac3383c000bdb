import { describe, expect, it } from 'vitest';
import { nearest } from '../src/playback';

describe('nearest', () => {
  const levels = [{ bitrate: 2_000 }, { bitrate: 4_000 }, { bitrate: 1_000 }];
  it('is the closest in bitrate of those that are there', () => {
    expect(nearest(levels, 0, () => false)).toBe(2);
    expect(nearest(levels, 0, (index) => index === 2)).toBe(1);
    expect(nearest(levels, 1, () => false)).toBe(0);
  });
  it('is none where all others are away', () => {
    expect(nearest(levels, 0, () => true)).toBeUndefined();
    expect(nearest([{ bitrate: 1 }], 0, () => false)).toBeUndefined();
  });
});
