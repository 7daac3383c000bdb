// The browser that all measurements use, without a display: $CHROMIUM, Debian's Chromium, Google's Chrome, or the one
// that playwright-core installed (Ubuntu has no Chromium package, only a snap, which cannot be driven like this).
import { X509Certificate, createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
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

/** Believes this certificate (PEM), which nobody else has signed. */
function trust(certificate) {
  const { publicKey } = new X509Certificate(readFileSync(certificate));
  const key = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
  return [`--ignore-certificate-errors-spki-list=${key}`];
}

/** HTTP/3 with this origin and no other way to it, believing this certificate only. */
function quic(origin, certificate) {
  return ['--enable-quic', `--origin-to-force-quic-on=${new URL(origin).host}`, ...trust(certificate)];
}

/** Without `certificate` nothing goes over HTTP/3; `trusted` is believed then. */
export function launch(origin, certificate, trusted) {
  return chromium.launch({
    executablePath: executable(),
    headless: false,
    args: ['--headless=new', ...FLAGS, ...(certificate ? quic(origin, certificate) : ['--disable-quic', ...(trusted ? trust(trusted) : [])])],
  });
}
