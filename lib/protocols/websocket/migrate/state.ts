// The state that travels with an upgraded connection: its request, its response, and the app's saved state.

import type { UpgradeRequest } from '../../../sockets/upgrade-request.js';
import { decodeState, encodeState } from '../../state.js';
import type { ResponseHead } from '../response-head.js';

export interface UpgradeState {
  readonly request: UpgradeRequest;
  readonly response: ResponseHead;
  /** Bytes, or a JSON value. */
  readonly saved: unknown;
}

/**
 * Encodes as `u32 length · JSON of request and response · saved state`. @throws TypeError the app saved neither bytes nor
 * JSON
 */
export function encodeUpgrade({ request, response, saved }: UpgradeState): Buffer {
  const json = Buffer.from(JSON.stringify({ request, response }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, encodeState('the result of save()', saved)]);
}

/** Ignores unknown fields. @throws Error the state is malformed */
export function decodeUpgrade(state: Uint8Array): UpgradeState {
  const buffer = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const end = 4 + buffer.readUInt32BE(0);
  const { request, response } = JSON.parse(buffer.toString('utf8', 4, end)) as UpgradeState;
  const { method, url, httpVersion, rawHeaders } = request;
  const { status, upgrade, extensions, subprotocol } = response;
  const texts = [method, url, httpVersion, ...rawHeaders, upgrade, extensions, subprotocol];
  if (!texts.every((text) => typeof text === 'string')) throw new TypeError('the state of the upgrade is malformed');
  return {
    request: { method, url, httpVersion, rawHeaders },
    response: { status, upgrade, extensions, subprotocol },
    saved: decodeState(buffer.subarray(end)),
  };
}
