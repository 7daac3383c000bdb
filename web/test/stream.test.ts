import { describe, expect, it } from 'vitest';
import { fromPath, fromText, playlistPath, shape, watchPath } from '../src/stream';

describe('names', () => {
  it('come from the path', () => {
    expect(fromPath('/watch/live/show')).toEqual({ app: 'live', name: 'show' });
    expect(fromPath('/watch/live/show/')).toEqual({ app: 'live', name: 'show' });
  });

  it('come from the path behind a token, which the playlist keeps', () => {
    const name = fromPath('/t/eyJ.a_b.c-~/watch/live/show');
    expect(name).toEqual({ app: 'live', name: 'show', ticket: 'eyJ.a_b.c-~' });
    expect(playlistPath(name!)).toBe('/t/eyJ.a_b.c-~/live/show/index.m3u8');
    for (const path of ['/t/x', '/t/watch/live/show', '/t//watch/live/show', '/t/x/t/y/watch/live/show', '/t/a%2eb/watch/live/show']) {
      expect(fromPath(path)).toBeUndefined();
    }
  });

  it.each(['/', '/watch', '/watch/live', '/watch/live/a/b', '/watch/../x', '/watch/live/%3Cb%3E', '/other/live/a', '/watch/.a/b'])(
    'do not come from %s',
    (path) => expect(fromPath(path)).toBeUndefined(),
  );

  it('come from what a person types', () => {
    expect(fromText(' show ')).toEqual({ app: 'live', name: 'show' });
    expect(fromText('/tv/news/')).toEqual({ app: 'tv', name: 'news' });
    expect(fromText('')).toBeUndefined();
    expect(fromText('a b')).toBeUndefined();
    expect(fromText('a/b/c')).toBeUndefined();
    expect(fromText('x'.repeat(65))).toBeUndefined();
  });

  it('lead to the page and to the playlist', () => {
    const name = { app: 'live', name: 'show' };
    expect(watchPath(name)).toBe('/watch/live/show');
    expect(playlistPath(name)).toBe('/live/show/index.m3u8');
  });
});

describe('the shape of a multivariant playlist', () => {
  const playlist = (bandwidth: number, extra = '') => `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},AVERAGE-BANDWIDTH=${bandwidth - 9},CODECS="avc1.42c01e",RESOLUTION=640x360,FRAME-RATE=25
e1/v0/media.m3u8
${extra}`;

  it('stays when measured rates change', () => {
    expect(shape(playlist(1000))).toBe(shape(playlist(2000)));
  });

  it('stays when the promise of independent segments is dropped', () => {
    expect(shape(playlist(1000).replace('#EXTM3U', '#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS'))).toBe(shape(playlist(1000)));
  });

  it('changes with a late audio track, another codec and another epoch', () => {
    const audio = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Audio",URI="e1/a0/media.m3u8"\n';
    expect(shape(playlist(1000, audio))).not.toBe(shape(playlist(1000)));
    expect(shape(playlist(1000).replace('42c01e', '640028'))).not.toBe(shape(playlist(1000)));
    expect(shape(playlist(1000).replace('e1/', 'e2/'))).not.toBe(shape(playlist(1000)));
  });
});
