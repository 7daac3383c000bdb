/** Asks the operator's port. Errors are the server's own words, which say what to do. */

export class ApiError extends Error {
  readonly status: number;
  /** The port asks for a login. */
  readonly login: boolean;

  constructor(status: number, message: string, login = false) {
    super(message);
    this.status = status;
    this.login = login;
  }
}

export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(10_000), ...init });
  } catch {
    throw new ApiError(0, 'The server does not answer. Is it running, and does its network reach you?');
  }
  const text = await answer.text();
  const body = parsed(text);
  if (!answer.ok) {
    const said = (body as { error?: unknown } | null)?.error;
    const login = answer.status === 401 && (body as { login?: unknown } | null)?.login !== false;
    throw new ApiError(answer.status, typeof said === 'string' ? said : text.trim().slice(0, 300) || answer.statusText, login);
  }
  return body as T;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const post = <T>(path: string, body?: unknown) =>
  ask<T>(path, {
    method: 'POST',
    ...(body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  });

/** A stream's address below the API. */
export const streamPath = (name: string) => `/api/v1/streams/${name.split('/').map(encodeURIComponent).join('/')}`;
