/** A worker that takes requests, as it is now. */
export interface Candidate {
  id: string;
  /** Slots that are left; 0 for a worker that must not get this request for any other reason, such as a suspect on board. */
  free: number;
  /** Tokens of work that remain of what is on board. */
  outstanding: number;
  /** Bytes of media that may still be put in flight; Infinity while none are, so that what exceeds it all can board. */
  mediaRoom: number;
  /** How many requests are on board. */
  onBoard: number;
  /** The part of this request's media that the worker has seen, 0 to 1. */
  share: number;
}

/** `tokens` are those of the prompt: what a worker need not compute that has seen all of its media. */
export interface Routable {
  tokens: number;
  mediaBytes: number;
  /** It may share a worker with nobody. */
  alone: boolean;
}

/**
 * The worker that would be done with the request first: the least outstanding tokens, less those of the request that the
 * worker's caches save. So one that has seen the media wins while it has at most so much more to do than the least loaded
 * as it saves, and a crowd that asks about one picture spreads. Undefined: none has room now.
 */
export function route(request: Routable, candidates: readonly Candidate[]): string | undefined {
  let best: Candidate | undefined;
  for (const candidate of candidates) {
    if (!hasRoom(candidate, request)) continue;
    if (best === undefined || isBetter(candidate, best, request.tokens)) best = candidate;
  }
  return best?.id;
}

/** Media that exceed the whole credit would wait for ever: a worker with nothing on board takes any. */
function hasRoom({ free, onBoard, mediaRoom }: Candidate, { mediaBytes, alone }: Routable): boolean {
  if (free < 1) return false;
  return onBoard === 0 || (!alone && mediaBytes <= mediaRoom);
}

/** Among equals the one that has seen more, then the one with fewer on board, then the first. */
function isBetter(one: Candidate, other: Candidate, tokens: number): boolean {
  const order =
    remaining(one, tokens) - remaining(other, tokens) || other.share - one.share || one.onBoard - other.onBoard;
  return order < 0;
}

function remaining({ outstanding, share }: Candidate, tokens: number): number {
  return outstanding - share * tokens;
}
