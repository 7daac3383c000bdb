// The clock that is burnt into test pictures, and how a browser reads it back.
//
// Two rows of 32 cells across the top of the picture, each cell 1/32 of its width and 1/24 of its height. The upper
// row is unix time in milliseconds modulo 2^32, bit 31 first, white for 1. The lower row is its complement: a frame
// whose rows do not agree was read wrong and does not count.

export const BITS = 32;
export const ROWS = 24;

/** The two rows for a time: 64 booleans, upper row first. */
export function cells(millis) {
  const value = Number(BigInt.asUintN(BITS, BigInt(Math.round(millis))));
  const upper = Array.from({ length: BITS }, (_, i) => ((value >>> (BITS - 1 - i)) & 1) === 1);
  return [...upper, ...upper.map((bit) => !bit)];
}

/** The time modulo 2^32 that 64 luma values (0 to 255, upper row first) stand for; null if the rows disagree. */
export function decode(lumas) {
  let value = 0;
  for (let i = 0; i < 32; i += 1) {
    const bit = lumas[i] > 127;
    if (bit === lumas[32 + i] > 127) return null;
    value = value * 2 + (bit ? 1 : 0);
  }
  return value;
}

/** Milliseconds from a time modulo 2^32 to a full one; negative if it lies ahead. */
export function since(wrapped, now) {
  const span = 2 ** 32;
  const difference = (((Math.round(now) - wrapped) % span) + span) % span;
  return difference >= span / 2 ? difference - span : difference;
}

/**
 * Reads the clock off a video's frames as they are shown; runs in the page, so it stands alone.
 * `parts` are `decode` and `since`; `every` is the least time between two readings (milliseconds).
 * Returns an object whose `samples` grow: `{ at, delay }`, in milliseconds since the page opened and of glass to screen.
 */
export function watchClock(video, { decode, since, every }) {
  const CELL = 8;
  const canvas = new OffscreenCanvas(32 * CELL, 2 * CELL);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const found = { samples: [], unreadable: 0 };
  let last = -Infinity;
  const luma = (image, column, row) => {
    let sum = 0;
    for (let y = 2; y < 6; y += 1) {
      for (let x = 2; x < 6; x += 1) {
        const at = ((row * CELL + y) * image.width + column * CELL + x) * 4;
        sum += 0.299 * image.data[at] + 0.587 * image.data[at + 1] + 0.114 * image.data[at + 2];
      }
    }
    return sum / 16;
  };
  const read = () => {
    const { videoWidth, videoHeight } = video;
    context.drawImage(video, 0, 0, videoWidth, videoHeight / 12, 0, 0, canvas.width, canvas.height);
    const image = context.getImageData(0, 0, canvas.width, canvas.height);
    const lumas = [];
    for (let row = 0; row < 2; row += 1) {
      for (let column = 0; column < 32; column += 1) lumas.push(luma(image, column, row));
    }
    return decode(lumas);
  };
  const shown = (now, frame) => {
    video.requestVideoFrameCallback(shown);
    if (now - last < every) return;
    last = now;
    const captured = read();
    const onScreen = Date.now() - performance.now() + frame.expectedDisplayTime;
    if (captured === null) found.unreadable += 1;
    else found.samples.push({ at: frame.expectedDisplayTime, delay: since(captured, onScreen) });
  };
  video.requestVideoFrameCallback(shown);
  return found;
}
