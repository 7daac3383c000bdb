/** Stands in for the parts of hls.js that the build leaves out (see vite.config.ts). It recognises no media. */
export default class Idle {
  static probe(): boolean {
    return false;
  }
}
export { Idle as AC3Demuxer, Idle as IFrameController, Idle as SubtitleStreamController, Idle as TimelineController };
