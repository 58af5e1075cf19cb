// What travels with an upgraded connection: its request, what its client was promised, and what its app saved.

import type { UpgradeRequest } from '../../../sockets/upgrade-request.js';
import { decodeState, encodeState } from '../../state.js';
import type { ResponseHead } from '../response-head.js';

export interface UpgradeState {
  readonly request: UpgradeRequest;
  readonly response: ResponseHead;
  /** Bytes, or a JSON value. */
  readonly saved: unknown;
}

/** `u32 length · JSON of request and response · what the app saved`. @throws TypeError it saved neither bytes nor JSON */
export function encodeUpgrade({ request, response, saved }: UpgradeState): Buffer {
  const json = Buffer.from(JSON.stringify({ request, response }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, encodeState('what save() gave', saved)]);
}

/** Fields this version does not know are ignored. @throws Error it is malformed */
export function decodeUpgrade(state: Uint8Array): UpgradeState {
  const buffer = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const end = 4 + buffer.readUInt32BE(0);
  const { request, response } = JSON.parse(buffer.toString('utf8', 4, end)) as UpgradeState;
  const { method, url, httpVersion, rawHeaders } = request;
  const { status, upgrade, extensions, subprotocol } = response;
  const texts = [method, url, httpVersion, ...rawHeaders, upgrade, extensions, subprotocol];
  if (!texts.every((text) => typeof text === 'string')) throw new TypeError('no upgrade');
  return {
    request: { method, url, httpVersion, rawHeaders },
    response: { status, upgrade, extensions, subprotocol },
    saved: decodeState(buffer.subarray(end)),
  };
}
