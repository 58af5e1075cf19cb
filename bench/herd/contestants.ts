// Those who accept behind one port: one process, ten on one listener they have all inherited, ten with a listener each.
import { bindListener, closeFd } from 'handover/fd';
import { Told } from '../lib/told.js';

export type Name = 'one process' | 'shared listener' | 'SO_REUSEPORT';

export const MANY = 10;

/** What a process has done since its start. */
export interface Count {
  readonly connections: number;
  readonly cpuUs: number;
  /** How often it was woken. */
  readonly wakeUps: number;
  /** Turns of its event loop in which nothing happened to any connection. */
  readonly emptyTurns: number;
}

export interface Contestant {
  readonly name: Name;
  readonly processes: number;
  readonly port: number;
  /** Of each process. */
  counts(): Promise<Count[]>;
  end(): Promise<void>;
}

const PROGRAM = new URL('worker.mjs', import.meta.url);
const HOST = '127.0.0.1';

export const startOne = (): Promise<Contestant> => startSharing('one process', 1);

export const startShared = (): Promise<Contestant> => startSharing('shared listener', MANY);

/** As the workers of `handover run`: the listener is bound once, and every process inherits it. */
async function startSharing(name: Name, processes: number): Promise<Contestant> {
  const fd = bindListener({ port: 0, host: HOST });
  try {
    return await start(
      name,
      Array.from({ length: processes }, () => new Told(PROGRAM, { args: ['shared'], fd })),
    );
  } finally {
    // Nobody accepts here.
    closeFd(fd);
  }
}

/** The first chooses the port, and the others join it. */
export async function startReusePort(): Promise<Contestant> {
  const first = new Told(PROGRAM, { args: ['own', '0'] });
  const { port } = await first.tell<{ port: number }>();
  const others = Array.from({ length: MANY - 1 }, () => new Told(PROGRAM, { args: ['own', String(port)] }));
  return await start('SO_REUSEPORT', [first, ...others], port);
}

/** Resolves when all of them listen, whatever port those who have not said so yet say. */
async function start(name: Name, workers: readonly Told[], known?: number): Promise<Contestant> {
  const end = async (): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.end()));
  };
  try {
    const waited = known === undefined ? workers : workers.slice(1);
    const ports = await Promise.all(waited.map((worker) => worker.tell<{ port: number }>()));
    const port = known ?? ports[0]?.port ?? 0;
    const counts = (): Promise<Count[]> => Promise.all(workers.map((worker) => worker.tell<Count>({ do: 'count' })));
    return { name, processes: workers.length, port, counts, end };
  } catch (error) {
    await end();
    throw error;
  }
}
