// The contestants that need nothing but Node and this package.
import { fileURLToPath } from 'node:url';
import type { Ending } from '../lib/ending.js';
import { answers, freePort, Program, type ProgramOptions } from '../lib/program.js';
import { type Contestant, type Entrant, type Marks, reloading } from './contestant.js';

type Event = keyof Marks | 'prepared';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const PLAIN = here('plain.mjs');
const SERVE = here('../workers/serve.mjs');

/** Starts an app and waits until it accepts. */
async function launch(ending: Ending, port: number, ...args: readonly string[]): Promise<MarkedProgram> {
  const env = { PORT: String(port), BENCH_MARKS: '1' };
  const program = ending.own(new MarkedProgram({ args, env }));
  await program.told(['accepting']);
  return program;
}

/** The same, of one whose successors take its place. */
async function launchSelf(ending: Ending, port: number, app: string): Promise<MarkedProgram> {
  const env = { PORT: String(port), BENCH_MARKS: '1' };
  const program = ending.own(new MarkedProgram({ args: [app], env, isReplaced: true }));
  await program.told(['accepting']);
  return program;
}

/** An app that tells what it does, whoever it is by now. */
class MarkedProgram extends Program {
  /** The process in charge. */
  current = 0;
  readonly #isReplaced: boolean;

  constructor({ isReplaced = false, ...options }: ProgramOptions & { readonly isReplaced?: boolean }) {
    super(options);
    this.#isReplaced = isReplaced;
  }

  /** Whoever it has become. */
  override end(): Promise<void> {
    return super.end(this.#isReplaced && this.current !== 0 ? this.current : this.pid);
  }

  /** Reads marks until each of those events has come; the last two only count of a new process, which is current then. */
  async told(events: readonly Event[]): Promise<Marks> {
    const left = new Set<Event>(events);
    const marks: { [K in Event]?: bigint } = {};
    let next = this.current;
    while (left.size > 0) {
      const mark = JSON.parse(await this.says(/^\{"event":/)) as { event: Event; pid: number; at: string };
      const isOfNew = mark.event === 'accepting' || mark.event === 'accepted';
      // Left unread: the first connection of the process that was the first.
      if (isOfNew && mark.pid === this.current) continue;
      left.delete(mark.event);
      marks[mark.event] = BigInt(mark.at);
      if (isOfNew) next = mark.pid;
    }
    this.current = next;
    return marks;
  }
}

const self: Entrant = {
  name: 'handover, self',
  replaces: 'process',
  isOurs: true,
  async start(ending) {
    const port = await freePort();
    const program = await launchSelf(ending, port, SERVE);
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2', program.current);
        return program.told(['spawn', 'accepting', 'accepted']);
      },
    };
  },
};

const standby: Entrant = {
  name: 'handover, standby',
  replaces: 'process',
  isOurs: true,
  async start(ending) {
    const port = await freePort();
    const program = await launchSelf(ending, port, here('standby.mjs'));
    return {
      port,
      async prepare() {
        program.signal('SIGHUP', program.current);
        await program.told(['prepared']);
      },
      async trigger() {
        program.signal('SIGUSR2', program.current);
        return program.told(['commit', 'accepting', 'accepted']);
      },
    };
  },
};

const supervisor: Entrant = {
  name: 'handover run',
  replaces: 'process',
  isOurs: true,
  async start(ending) {
    const port = await freePort();
    const keeping = ['--workers', '1', '--listen', `web=tcp://127.0.0.1:${port}`];
    const program = await launch(
      ending,
      port,
      here('../../dist/cli/main.js'),
      'run',
      ...keeping,
      '--',
      process.execPath,
      SERVE,
    );
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2');
        return program.told(['accepting', 'accepted']);
      },
    };
  },
};

const cluster: Entrant = {
  name: 'node:cluster',
  replaces: 'process',
  async start(ending) {
    const port = await freePort();
    const args = [here('../workers/cluster.mjs'), '1'];
    const program = ending.own(new Program({ args, env: { PORT: String(port) } }));
    await program.says(/^serving$/);
    return reloading(port, program, /^reloaded$/);
  },
};

/** The new process beside the old one, on the same port; the old one is told to end when the new one accepts. */
const reusePort: Entrant = {
  name: 'SO_REUSEPORT overlap',
  replaces: 'process',
  start: (ending) =>
    restarted(ending, here('reuseport.mjs'), async (start, old) => {
      const next = await start();
      await old.end();
      return next;
    }),
};

/** What everybody else is there to avoid. */
export const stopAndStart: Entrant = {
  name: 'stop, start',
  replaces: 'process',
  start: (ending) =>
    restarted(ending, PLAIN, async (start, old) => {
      await old.end();
      return start();
    }),
};

async function restarted(
  ending: Ending,
  app: string,
  replace: (start: () => Promise<MarkedProgram>, old: MarkedProgram) => Promise<MarkedProgram>,
): Promise<Contestant> {
  const port = await freePort();
  const start = (): Promise<MarkedProgram> => launch(ending, port, app);
  let program = await start();
  return {
    port,
    async trigger() {
      program = await replace(start, program);
      return {};
    },
  };
}

async function momentOf(program: Program, event: Event): Promise<bigint> {
  const line = await program.says(new RegExp(`^\\{"event":"${event}"`));
  return BigInt((JSON.parse(line) as { at: string }).at);
}

/** How long the same app takes to start without any handover, while another one serves the same load beside it. */
export const bareStart: Entrant = {
  name: 'bare cold start',
  replaces: 'none',
  async start(ending) {
    const port = await freePort();
    await launch(ending, port, PLAIN);
    return {
      port,
      async trigger() {
        const own = await freePort();
        const spawn = process.hrtime.bigint();
        const env = { PORT: String(own), BENCH_MARKS: '1' };
        const beside = ending.own(new Program({ args: [PLAIN], env }));
        try {
          // Nobody knocks before: it has all there is for its start.
          const accepting = await momentOf(beside, 'accepting');
          await answers(own);
          return { spawn, accepting, accepted: await momentOf(beside, 'accepted') };
        } finally {
          await beside.end();
        }
      },
    };
  },
};

export const OURS: readonly Entrant[] = [self, standby, supervisor];
export const NODE_SERVERS: readonly Entrant[] = [cluster, reusePort, stopAndStart];
