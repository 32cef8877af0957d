/** The loop of text generation, over anything that reads tokens and gives logits. */

import { isFunction, OptionError, readOptions, ShapeError, show, synchronous } from "../errors.ts";
import { checkSampling, type SampleOptions, sampleDefaults, sampleToken } from "./sample.ts";

export interface StreamOptions extends SampleOptions {
  /** The most tokens to make. */
  maxTokens: number;
  /** Ids that end the text; the ending id is part of the result. */
  stop: number | readonly number[] | null;
}

export interface GenerateOptions extends StreamOptions {
  /**
   * Called with each token as it is made. A token may end within a character, so text comes of a tokenizer's decoder:
   * `const decoder = tokenizer.decoder()`, `onToken: (id) => write(decoder.push(id))`, and `write(decoder.end())` behind it.
   */
  onToken: ((id: number) => void) | null;
}

/** A model that is reading one text. `L` is how it gives logits, at once or later. */
export interface Reader<L = ArrayLike<number>> {
  /** Positions it can hold at once, and those it holds. */
  readonly context: number;
  readonly length: number;
  /** Reads on, and gives the logits after the last of `ids`. */
  read(ids: readonly number[]): L;
  /** Forgets what was read. */
  clear(): void;
}

export type LaterReader = Reader<Promise<ArrayLike<number>>>;

const streamDefaults: StreamOptions = {
  maxTokens: undefined as never,
  ...sampleDefaults,
  stop: null,
};

/** What a loop asks for: logits behind these ids, or that somebody takes a token. */
type Asked = readonly number[] | number;
type Loop = Generator<Asked, void, ArrayLike<number> | undefined>;

/**
 * The tokens that follow `prompt`, one at a time. When the context is full, the newest half of the text is read
 * again and the rest forgotten. Throws ShapeError for a prompt longer than the context, OptionError for an empty one.
 */
export function streamFrom(
  reader: Reader,
  prompt: ArrayLike<number>,
  options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
): Generator<number, void, undefined> {
  return tokens(reader, loopOf(reader, prompt, options));
}

function* tokens(reader: Reader, loop: Loop): Generator<number, void, undefined> {
  try {
    for (let asked = loop.next(); !asked.done; ) {
      if (typeof asked.value !== "number") asked = loop.next(reader.read(asked.value));
      else {
        yield asked.value;
        asked = loop.next();
      }
    }
  } finally {
    loop.return();
    reader.clear();
  }
}

/** As `streamFrom`, of a reader that gives logits later. */
export function streamLater(
  reader: LaterReader,
  prompt: ArrayLike<number>,
  options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
): AsyncGenerator<number, void, undefined> {
  return tokensLater(reader, loopOf(reader, prompt, options));
}

async function* tokensLater(reader: LaterReader, loop: Loop): AsyncGenerator<number, void, undefined> {
  try {
    for (let asked = loop.next(); !asked.done; ) {
      if (typeof asked.value !== "number") asked = loop.next(await reader.read(asked.value));
      else {
        yield asked.value;
        asked = loop.next();
      }
    }
  } finally {
    loop.return();
    reader.clear();
  }
}

/** The loop itself. What can be wrong is checked here and not at the first token, which may be asked for much later. */
function loopOf(
  reader: Reader<unknown>,
  prompt: ArrayLike<number>,
  options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
): Loop {
  const settings = readOptions("generate", options, streamDefaults);
  const { maxTokens, stop } = settings;
  if (!Number.isInteger(maxTokens) || maxTokens < 0) {
    throw new OptionError(`generate: maxTokens must be a non-negative integer, got ${show(maxTokens)}`);
  }
  checkSampling("generate", settings);
  const text = Array.from(typeof prompt === "object" && prompt !== null ? prompt : []);
  if (text.length === 0) {
    const got = show(ArrayBuffer.isView(prompt) ? text : prompt);
    throw new OptionError(`generate: the prompt must be a list of at least one token, got ${got}`);
  }
  const stops = stop === null ? [] : [stop].flat();
  for (const [name, ids] of [
    ["the prompt", text],
    ["stop", stops],
  ] as const) {
    const odd = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < 2 ** 31));
    if (odd >= 0) throw new OptionError(`generate: ${name} must hold token ids, got ${show(ids[odd])}`);
  }
  if (text.length > reader.context) {
    throw new ShapeError(
      `generate: the prompt must fit the context of ${reader.context}, got ${text.length} tokens; cut it`,
    );
  }
  return asking(reader, text, settings, new Set(stops));
}

function* asking(
  reader: Reader<unknown>,
  text: number[],
  settings: StreamOptions,
  stops: ReadonlySet<number>,
): Loop {
  const { temperature, topK, topP, rng } = settings;
  const sampling = { temperature, topK, topP, rng };
  let unread = text;
  for (let made = 0; made < settings.maxTokens; made++) {
    if (reader.length + unread.length > reader.context) {
      reader.clear();
      unread = text.slice(-Math.max(1, reader.context >> 1));
    }
    const id = sampleToken((yield unread)!, sampling);
    text.push(id);
    unread = [id];
    yield id;
    if (stops.has(id)) return;
  }
}

type Generating = Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">;

/** All tokens that `streamFrom` yields, without the prompt. */
export function generateFrom(reader: Reader, prompt: ArrayLike<number>, options: Generating): number[] {
  const [rest, told] = telling(options);
  return Array.from(streamFrom(reader, prompt, rest), told);
}

/** As `generateFrom`, of a reader that gives logits later. */
export async function generateLater(
  reader: LaterReader,
  prompt: ArrayLike<number>,
  options: Generating,
): Promise<number[]> {
  const [rest, told] = telling(options);
  const made: number[] = [];
  for await (const id of streamLater(reader, prompt, rest)) made.push(told(id));
  return made;
}

/** The options of the loop, and what gives a token back once `onToken` has been told of it. */
function telling(options: Generating): [rest: StreamOptions, told: (id: number) => number] {
  const { onToken, ...rest } = readOptions<GenerateOptions>("generate", options, {
    ...streamDefaults,
    onToken: null,
  });
  if (onToken !== null && !isFunction(onToken)) {
    throw new OptionError(`generate: option onToken must be a function, got ${show(onToken)}`);
  }
  const told = (id: number): number => {
    if (onToken) synchronous("generate", onToken(id) as unknown, "onToken");
    return id;
  };
  return [rest, told];
}
