// The browser that all measurements use, without a display: $CHROMIUM, Debian's Chromium, Google's Chrome, or the one
// that playwright-core installed (Ubuntu has no Chromium package, only a snap, which cannot be driven like this).
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  // A page that nobody looks at must run its timers like one that somebody does.
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--disable-background-timer-throttling',
];

function executable() {
  const known = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome', chromium.executablePath()];
  const found = known.find((path) => path && existsSync(path));
  if (!found) throw new Error('no Chromium here: run scripts/setup.sh test, or set CHROMIUM to its path');
  return found;
}

export function launch() {
  return chromium.launch({
    executablePath: executable(),
    headless: false,
    args: ['--headless=new', ...FLAGS],
  });
}
