// Makes the request of an upgrade again, for a connection that has migrated.
import { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';

/** The parts of the request that are needed to make it again. */
export interface UpgradeRequest {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

/** Makes the request again; undefined where this Node builds requests in another way, or the result is no upgrade. */
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
