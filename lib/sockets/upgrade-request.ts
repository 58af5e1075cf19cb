// The request of an upgrade, made again for a connection that has moved; undefined where this Node makes requests in
// another way.
import { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';

/** As much of the request as it takes to make it again. */
export interface UpgradeRequest {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

/** The request of an upgrade, made again; undefined where this Node does it in another way. */
export function rebuildRequest(socket: Socket, kept: UpgradeRequest, server: Server): IncomingMessage | undefined {
  const request = new IncomingMessage(socket) as IncomingMessage & {
    _addHeaderLines?: (headers: readonly string[], count: number) => void;
    upgrade?: boolean | null;
    joinDuplicateHeaders?: unknown;
  };
  if (typeof request._addHeaderLines !== 'function') return undefined;
  const [major = '1', minor = '1'] = kept.httpVersion.split('.');
  request.httpVersionMajor = Number(major);
  request.httpVersionMinor = Number(minor);
  request.httpVersion = kept.httpVersion;
  request.method = kept.method;
  request.url = kept.url;
  const { joinDuplicateHeaders } = server as { joinDuplicateHeaders?: unknown };
  if (joinDuplicateHeaders !== undefined) request.joinDuplicateHeaders = joinDuplicateHeaders;
  request._addHeaderLines([...kept.rawHeaders], kept.rawHeaders.length);
  request.upgrade = true;
  request.complete = true;
  request.push(null);
  return request.headers.upgrade === undefined ? undefined : request;
}
