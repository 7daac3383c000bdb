// What is measured inside the page, the same for every player. Runs in the page, so it stands alone.

/**
 * Follows the first video element that appears: first picture, stalls, and what `sample()` sees.
 * A stall is a playhead that should move and does not: the browser says `waiting`, or it stands still for 300 ms.
 */
export function probe() {
  const STILL = 300;
  // Stalls closer together are one: the last frames trickle out.
  const SAME = 300;
  const state = { firstPictureMillis: null, stalls: [], stallSeconds: 0, longestStall: 0, clock: null };
  let video = null;
  let since = null;
  let ended = -Infinity;
  let moved = { at: 0, playhead: -1 };

  const begin = (at) => {
    if (since !== null || state.firstPictureMillis === null) return;
    since = at;
    if (at - ended > SAME) state.stalls.push(at);
  };
  const end = (at) => {
    if (since === null) return;
    state.stallSeconds += (at - since) / 1000;
    state.longestStall = Math.max(state.longestStall, (at - since) / 1000);
    since = null;
    ended = at;
  };
  const look = () => {
    const now = performance.now();
    const free = !video.paused && !video.seeking && !video.ended;
    if (!free || video.currentTime !== moved.playhead) {
      if (video.currentTime !== moved.playhead || !free) end(now);
      moved = { at: now, playhead: video.currentTime };
    } else if (now - moved.at > STILL) begin(moved.at);
  };
  const follow = (found) => {
    video = found;
    video.addEventListener('waiting', () => !video.seeking && begin(performance.now()));
    video.requestVideoFrameCallback((now) => (state.firstPictureMillis = now));
    setInterval(look, 50);
    if (window.readClock) state.clock = window.readClock(video);
  };
  const find = () => {
    const found = document.querySelector('video');
    if (found) follow(found);
    else requestAnimationFrame(find);
  };
  find();

  const ahead = () => {
    const { buffered, currentTime } = video;
    for (let i = buffered.length - 1; i >= 0; i -= 1) {
      if (buffered.start(i) <= currentTime + 0.1) return Math.max(0, buffered.end(i) - currentTime);
    }
    return 0;
  };
  const latency = () => {
    if (window.aqueduct) return window.aqueduct.stats().latency;
    const shown = window.player?.shownDate() ?? null;
    return shown === null ? null : (Date.now() - shown) / 1000;
  };
  window.probe = {
    sample: () =>
      video && {
        at: performance.now(),
        playhead: video.currentTime,
        rate: video.playbackRate,
        buffer: ahead(),
        latency: latency(),
        paused: video.paused,
        stalled: since !== null,
        stats: window.aqueduct?.stats() ?? null,
      },
    result: () => {
      const now = performance.now();
      const open = since === null ? 0 : (now - since) / 1000;
      const frames = video?.getVideoPlaybackQuality();
      return {
        ...state,
        stallSeconds: state.stallSeconds + open,
        longestStall: Math.max(state.longestStall, open),
        droppedFrames: frames?.droppedVideoFrames ?? 0,
        totalFrames: frames?.totalVideoFrames ?? 0,
        width: video?.videoWidth ?? 0,
        height: video?.videoHeight ?? 0,
        errors: window.aqueduct ? window.aqueduct.stats().errors : (window.player?.errors ?? []),
        fatal: window.player?.fatal ?? null,
        stats: window.aqueduct?.stats() ?? null,
      };
    },
  };
}
