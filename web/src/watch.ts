/** The page at `/watch/APP/NAME`. */
import './style.css';
import { Beacon } from './beacon';
import { Controls } from './controls';
import { Session } from './session';
import { stats, type Stats } from './stats';
import { fromPath } from './stream';
import { NO_NAME } from './words';

declare global {
  interface Window {
    aqueduct?: { stats(): Stats };
  }
}

const video = document.querySelector<HTMLVideoElement>('#video')!;
const controls = new Controls(document.querySelector<HTMLElement>('#stage')!, video);
const name = fromPath(location.pathname);

if (name) {
  document.title = `${name.name} · Aqueduct`;
  const session = new Session(video, name, controls);
  controls.serve(name, session);
  new Beacon(session, video, name);
  window.aqueduct = { stats: () => stats(session, video) };
  void session.run(new AbortController().signal);
} else {
  controls.say(NO_NAME);
}
