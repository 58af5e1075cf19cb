// The app's state of a connection, as bytes: one tag, then the app's bytes or a JSON text.
import { typeError } from '../errors.js';

const TAG = { bytes: 0, json: 1 } as const;

/**
 * Encodes as `u8 tag · bytes | UTF-8 JSON`. `name` is the subject of the error.
 * @throws TypeError the state is neither bytes nor a value that JSON can carry
 */
export function encodeState(name: string, state: unknown): Uint8Array {
  if (state instanceof Uint8Array) return Buffer.concat([Uint8Array.of(TAG.bytes), state]);
  return Buffer.concat([Uint8Array.of(TAG.json), Buffer.from(toJson(name, state))]);
}

/**
 * Decodes to a Buffer that is a copy, or to the JSON value.
 * @throws SyntaxError the tag is of a newer version, or the text is no JSON
 */
export function decodeState(bytes: Uint8Array): unknown {
  const [tag] = bytes;
  const content = Buffer.from(bytes.subarray(1));
  if (tag === TAG.bytes) return content;
  if (tag === TAG.json) return JSON.parse(content.toString('utf8')) as unknown;
  throw new SyntaxError(`the state of a connection begins with the tag ${tag}, which this version does not know`);
}

/** JSON.stringify() returns undefined for functions and symbols, and throws at cycles and bigints. */
function toJson(name: string, state: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(state);
  } catch (cause) {
    throw Object.assign(typeError(name, 'a Uint8Array or a JSON value', state), { cause });
  }
  if (json === undefined) throw typeError(name, 'a Uint8Array or a JSON value', state);
  return json;
}
