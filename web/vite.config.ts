import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const hls = JSON.parse(readFileSync(here('./node_modules/hls.js/package.json'), 'utf8')) as { version: string };

/**
 * hls.js is built from its own sources, without what a live fMP4 stream never uses: a third of the download.
 * The flags below keep those parts from running; an empty module in their place keeps them out of the bundle.
 */
const idle = [
  /^\.\/controller\/(cmcd|eme|iframe|interstitials|subtitle-stream|subtitle-track|timeline)-controller$/,
  /^\.\/audio\/(aacdemuxer|ac3-demuxer|mp3demuxer)$/,
  /^\.\.\/demux\/tsdemuxer$/,
];

export default defineConfig({
  base: '/',
  define: {
    __VERSION__: JSON.stringify(hls.version),
    __USE_ALT_AUDIO__: 'true',
    __USE_EME_DRM__: 'false',
    __USE_SUBTITLES__: 'false',
    __USE_CMCD__: 'false',
    __USE_CONTENT_STEERING__: 'true',
    __USE_VARIABLE_SUBSTITUTION__: 'false',
    __USE_M2TS_ADVANCED_CODECS__: 'false',
    __USE_MEDIA_CAPABILITIES__: 'false',
    __USE_INTERSTITIALS__: 'false',
    __USE_IFRAMES__: 'false',
    __IN_WORKER__: 'false',
    __HLS_WORKER_BUNDLE__: 'undefined',
  },
  resolve: {
    alias: [
      { find: /^hls\.js$/, replacement: here('./node_modules/hls.js/src/hls.ts') },
      ...idle.map((find) => ({ find, replacement: here('./src/idle.ts') })),
    ],
  },
  build: {
    target: 'es2020',
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: Object.fromEntries(['watch', 'index', 'dashboard', 'doctor'].map((page) => [page, here(`./${page}.html`)])),
    },
  },
});
