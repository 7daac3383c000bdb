import { describe, expect, it } from 'vitest';
import { Account, type Look } from '../src/beacon';

const look = (now: number, more: Partial<Look> = {}): Look => ({
  now,
  playing: true,
  stalled: false,
  stalls: 0,
  stallMillis: 0,
  bitrate: 4_000_000,
  latency: 900,
  ...more,
});

describe('what a session lived through', () => {
  it('is time played, what was on screen, and how late it was', () => {
    const account = new Account();
    account.look(look(0, { playing: false }));
    account.look(look(1000));
    account.look(look(2000));
    account.look(look(3000, { stalled: true, stalls: 1, stallMillis: 200 }));
    account.look(look(4000, { stalls: 1, stallMillis: 1200, bitrate: 2_000_000 }));
    account.look(look(5000, { stalls: 1, stallMillis: 1200, bitrate: 3_000_000, latency: null }));
    account.look(look(6000, { stalls: 1, stallMillis: 1200, bitrate: 3_000_000 }));
    expect(account.play).toBe(4000);
    expect([account.stalls, account.stallMillis]).toEqual([1, 1200]);
    expect(account.bitrate).toBe(4000 * 2000 + 2000 * 1000 + 3000 * 1000);
    expect([account.latency, account.latencyKnown]).toEqual([900 * 3000, 3000]);
    expect([account.up, account.down]).toEqual([1, 1]);
  });

  it('does not count what a sleeping machine missed', () => {
    const account = new Account();
    account.look(look(0));
    account.look(look(3_600_000));
    expect(account.play).toBe(5000);
  });
});
