// What travels with an upgraded connection: its request, what its client was promised, and what its app saved.

import type { ResponseHead } from './response-head.js';
import type { UpgradeRequest } from './upgraded.js';

export interface UpgradeState {
  readonly request: UpgradeRequest;
  readonly response: ResponseHead;
  /** Bytes, or a JSON value. */
  readonly saved: unknown;
}

/** `u32 length · JSON · bytes`: the JSON holds everything but the app's bytes, if it saved bytes. @throws TypeError no JSON */
export function encodeState({ request, response, saved }: UpgradeState): Buffer {
  const bytes = ArrayBuffer.isView(saved) ? Buffer.from(saved.buffer, saved.byteOffset, saved.byteLength) : undefined;
  if (!bytes && JSON.stringify(saved) === undefined) {
    throw new TypeError('save() must give bytes, a JSON value or undefined');
  }
  const json = Buffer.from(JSON.stringify({ request, response, ...(bytes ? { bytes: true } : { saved }) }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, bytes ?? Buffer.alloc(0)]);
}

/** Fields this version does not know are ignored. @throws Error it is malformed */
export function decodeState(state: Uint8Array): UpgradeState {
  const buffer = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const end = 4 + buffer.readUInt32BE(0);
  const { request, response, bytes, saved } = JSON.parse(buffer.toString('utf8', 4, end)) as UpgradeState & {
    readonly bytes?: boolean;
  };
  const { method, url, httpVersion, rawHeaders } = request;
  if (![method, url, httpVersion, ...rawHeaders].every((text) => typeof text === 'string')) {
    throw new TypeError('no request');
  }
  const { status, upgrade, extensions, subprotocol } = response;
  return {
    request: { method, url, httpVersion, rawHeaders },
    response: { status, upgrade, extensions, subprotocol },
    // A copy: the frame it came in is much larger, and goes.
    saved: bytes === true ? Buffer.from(buffer.subarray(end)) : saved,
  };
}
