/** What the page says, in plain words. */
import type { Failure } from './playback';
import type { Look } from './source';

export interface Message {
  title: string;
  detail: string;
  /** Something is being waited for, as against a thing that the viewer must do. */
  busy: boolean;
}

export const OPENING: Message = { title: 'Opening the stream', detail: '', busy: true };
export const WAITING: Message = {
  title: 'Waiting for the stream',
  detail: 'It starts here by itself. No need to reload.',
  busy: true,
};
export const ENDED: Message = {
  title: 'The stream has ended',
  detail: 'Waiting for it to return. It will start here by itself.',
  busy: true,
};
export const NO_NAME: Message = {
  title: 'This is not the address of a stream',
  detail: 'An address looks like /watch/live/NAME.',
  busy: false,
};
export const TAP: Message = {
  title: 'Ready to play',
  detail: 'Your browser wants a tap here first.',
  busy: false,
};
export const HELD_UP: Message = {
  title: 'The picture is held up',
  detail: 'No new video arrives, from the streamer or over your network. It goes on by itself.',
  busy: true,
};
export const NO_PLAYER: Message = {
  title: 'This browser cannot play live video',
  detail: 'Try a current version of Firefox, Chrome, Edge or Safari.',
  busy: false,
};

export function whileWaiting(look: Look, ended: boolean): Message {
  if (look.is === 'unreachable') {
    return { title: 'The server cannot be reached', detail: 'Check your network. Trying again…', busy: true };
  }
  if (look.is === 'refused' && look.status === 401) {
    return {
      title: 'This stream needs a valid link',
      detail: 'The link that opened this page has run out or is not complete. Ask whoever gave it to you for a new one.',
      busy: false,
    };
  }
  if (look.is === 'refused' && look.status === 403) {
    return {
      title: 'This link does not open this stream',
      detail: 'It is for another stream or another place, or access was withdrawn. Ask whoever gave it to you.',
      busy: false,
    };
  }
  if (look.is === 'refused') {
    return { title: 'The server refuses this stream', detail: `It answered ${look.status}. Trying again…`, busy: true };
  }
  return ended ? ENDED : WAITING;
}

export function failure({ is, detail }: Failure): Message {
  switch (is) {
    case 'network':
      return { title: 'The connection was lost', detail: 'Connecting again…', busy: true };
    case 'media':
      return { title: 'The video could not be played on', detail: 'Starting it again…', busy: true };
    case 'unsupported':
      return { title: 'This browser cannot play this stream', detail: `Its format is not supported here (${detail}).`, busy: false };
  }
}

/** `0.6 s`, `12 s`, `3 min`. */
export function behind(seconds: number): string {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
