// The socket by which a worker reaches its supervisor from behind a wrapper that passes on no descriptor (npm, yarn, pnpm, npx,
// tsx). It lies in a directory of its own, and the supervisor admits only processes of a worker.
import { mkdtempSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { toEndpoint } from '../endpoints/kinds.js';
import { acceptOn, connectsTo } from '../fd/dial.js';
import { type PeerCredentials, peerCredentials } from '../fd/index.js';
import { openPidfd, Pidfd } from '../fd/pidfd.js';
import { isSameUserOrRoot, SOCKET_MODE } from '../platform/socket-rules.js';
import { Ledger } from '../resources/ledger.js';
import { type Dialler, refuseDialler } from './member.js';
import type { Worker } from './worker.js';

const PREFIX = 'handover-run-';
const NAME = 'workers';
/** sun_path of unix(7), with its NUL. */
const MAX_PATH_BYTES = 108;
const SUFFIX_BYTES = 6;

/** Finds the worker that a process belongs to. */
export type WorkerOf = (pid: number) => Worker | undefined;

export class Door {
  readonly path: string;
  readonly #directory: string;
  readonly #ledger = new Ledger();
  readonly #stopAccepting: () => void;
  #isClosed = false;

  private constructor(directory: string, workerOf: WorkerOf) {
    this.#directory = directory;
    this.path = join(directory, NAME);
    const { fd } = this.#ledger.listener(NAME, toEndpoint({ path: this.path, mode: SOCKET_MODE }));
    this.#stopAccepting = acceptOn(
      fd,
      (dialled) => admit(dialled, workerOf),
      () => {},
    );
  }

  /** Undefined on systems that cannot tell processes apart, or where no directory can be made: `report` gets that error. */
  static open(workerOf: WorkerOf, report: (line: string) => void): Door | undefined {
    if (process.platform !== 'linux') return undefined;
    try {
      const parent = [tmpdir(), '/tmp'].find(isShort) ?? '/tmp';
      removeStale(parent);
      return new Door(mkdtempSync(join(parent, PREFIX)), workerOf);
    } catch (error) {
      report(`no socket for workers behind a wrapper such as npm: ${(error as Error).message}`);
      return undefined;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopAccepting();
    this.#ledger.close({ removePaths: true });
    remove(this.#directory);
  }
}

function isShort(parent: string): boolean {
  return Buffer.byteLength(join(parent, PREFIX, NAME)) + SUFFIX_BYTES < MAX_PATH_BYTES;
}

function admit(fd: number, workerOf: WorkerOf): void {
  const { pid = 0, pidfd: vouched, uid } = peerCredentials(fd, { pidfd: true });
  const held = vouched ?? openPidfd(pid);
  const dialler: Dialler = { fd, pid, pidfd: held === undefined ? undefined : new Pidfd(held) };
  const worker = isSameUserOrRoot({ uid } as PeerCredentials) ? workerOf(pid) : undefined;
  if (worker) worker.admit(dialler);
  else refuseDialler(dialler, `process ${pid} of user ${uid} belongs to no worker of this \`handover run\``);
}

/** Removes the sockets of killed supervisors: connecting to one is refused, because no process listens there any more. */
function removeStale(parent: string): void {
  for (const name of readdirSync(parent)) {
    const path = join(parent, name, NAME);
    if (name.startsWith(PREFIX) && connectsTo(path) === -constants.errno.ECONNREFUSED) remove(join(parent, name), path);
  }
}

/** Leaves alone a directory of another user, or one that another process is removing. */
function remove(directory: string, socket?: string): void {
  try {
    if (socket !== undefined) unlinkSync(socket);
    rmdirSync(directory);
  } catch {}
}
