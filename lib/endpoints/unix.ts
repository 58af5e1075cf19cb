// A Unix listener at a path: `unix:/path`, and its file: whether it is stale, and when it may be removed. bind(2) makes the file
// and the kernel never removes it, so a crash leaves it behind; removing the file of a living server makes it unreachable.
import { lstatSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { hasCode } from '../errors.js';
import { connectsTo } from '../fd/dial.js';
import { bindListener } from '../fd/index.js';
import { type Bound, COMMON_OPTIONS, type Endpoint, type EndpointKind, pick } from './endpoint.js';

const { ECONNREFUSED } = constants.errno;
const SCHEME = 'unix:';
const OPTIONS = ['mode', 'uid', 'gid'] as const;

export const unix: EndpointKind = {
  name: 'unix',
  transport: 'stream',
  key: 'path',
  options: OPTIONS,
  syntax: `${SCHEME}PATH`,
  parse: (text) => {
    const [, path] = /^unix:(?:\/\/)?(.+)$/.exec(text) ?? [];
    return path === undefined ? undefined : { path };
  },
  toEndpoint: (address) => {
    const path = resolve(address.path ?? '');
    return {
      kind: 'unix',
      canonical: SCHEME + path,
      bind: { path, ...pick(address, OPTIONS), ...pick(address, COMMON_OPTIONS) },
    };
  },
  bind,
  removeFile: (canonical, file) => void removeIfSame(canonical.slice(SCHEME.length), file),
  isOne: ({ family, type, listening, local }) =>
    family === 'unix' && type === 'stream' && listening && local !== undefined && 'path' in local,
  addressOf: (local) => ('path' in local ? { path: local.path } : {}),
  closest: (all, { bind: { path } }) => all.find(({ local }) => local && 'path' in local && local.path === path),
  isOfMany: () => false,
  describe: (local) => ('path' in local ? local.path : ''),
  forNode: (address) => pick(address, ['path']),
};

function bind(endpoint: Endpoint): Bound {
  const { path = '' } = endpoint.bind;
  try {
    const fd = bindListener(endpoint.bind);
    return { fd, file: fileIdentity(path) };
  } catch (error) {
    if (hasCode(error, 'EADDRINUSE') && removeIfStale(path)) return bind(endpoint);
    throw error;
  }
}

/** Device and inode of the file at the path; undefined where there is none. The socket itself has another inode. */
export function fileIdentity(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}

/** Removes the path if it is still the file with this identity. False: it is not, and stays. */
export function removeIfSame(path: string, identity: string): boolean {
  if (fileIdentity(path) !== identity) return false;
  unlinkSync(path);
  return true;
}

/**
 * Removes a socket file on which no process listens any more, which connect(2) tells by ECONNREFUSED. EAGAIN means a full
 * accept queue, and other errors mean nothing, so the file stays: false.
 */
export function removeIfStale(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isSocket()) return false;
  const identity = fileIdentity(path);
  if (identity === undefined || connectsTo(path) !== -ECONNREFUSED) return false;
  return removeIfSame(path, identity);
}
