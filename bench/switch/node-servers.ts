// The contestants that need nothing but Node and this package.
import { fileURLToPath } from 'node:url';
import { answers, freePort, Program } from '../lib/program.js';
import type { Contestant, Entrant, Marks } from './contestant.js';

type Event = keyof Marks | 'prepared';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const PLAIN = here('plain.mjs');
const SERVE = here('../workers/serve.mjs');

/** Starts an app and waits until it accepts. */
async function launch(port: number, ...args: readonly string[]): Promise<Program> {
  const program = new Program({ args, env: { PORT: String(port), BENCH_MARKS: '1' } });
  await told(program, ['accepting']);
  return program;
}

interface Told extends Marks {
  /** Who told it last. */
  readonly pid: number;
}

/** Reads marks until each of those events has come. */
async function told(program: Program, events: readonly Event[]): Promise<Told> {
  const left = new Set<Event>(events);
  const marks: { [K in Event]?: bigint } = {};
  let pid = program.pid;
  while (left.size > 0) {
    const mark = JSON.parse(await program.says(/^\{"event":/)) as { event: Event; pid: number; at: string };
    left.delete(mark.event);
    marks[mark.event] = BigInt(mark.at);
    pid = mark.pid;
  }
  return { ...marks, pid };
}

const self: Entrant = {
  name: 'handover, self',
  replaces: 'process',
  isOurs: true,
  async start() {
    const port = await freePort();
    const program = await launch(port, SERVE);
    let pid = program.pid;
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2', pid);
        const marks = await told(program, ['spawn', 'accepting', 'accepted']);
        pid = marks.pid;
        return marks;
      },
      end: () => program.end(pid),
    };
  },
};

const standby: Entrant = {
  name: 'handover, standby',
  replaces: 'process',
  isOurs: true,
  async start() {
    const port = await freePort();
    const program = await launch(port, here('standby.mjs'));
    let pid = program.pid;
    return {
      port,
      async prepare() {
        program.signal('SIGHUP', pid);
        await told(program, ['prepared']);
      },
      async trigger() {
        program.signal('SIGUSR2', pid);
        const marks = await told(program, ['commit', 'accepting', 'accepted']);
        pid = marks.pid;
        return marks;
      },
      end: () => program.end(pid),
    };
  },
};

const supervisor: Entrant = {
  name: 'handover run',
  replaces: 'process',
  isOurs: true,
  async start() {
    const port = await freePort();
    const keeping = ['--workers', '1', '--listen', `web=tcp://127.0.0.1:${port}`];
    const program = await launch(
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
        return told(program, ['accepting', 'accepted']);
      },
      end: () => program.end(),
    };
  },
};

const cluster: Entrant = {
  name: 'node:cluster',
  replaces: 'process',
  async start() {
    const port = await freePort();
    const program = new Program({ args: [here('../workers/cluster.mjs'), '1'], env: { PORT: String(port) } });
    await program.says(/^serving$/);
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2');
        await program.says(/^reloaded$/);
        return {};
      },
      end: () => program.end(),
    };
  },
};

/** The new process beside the old one, on the same port; the old one is told to end when the new one accepts. */
const reusePort: Entrant = {
  name: 'SO_REUSEPORT overlap',
  replaces: 'process',
  start: () =>
    restarted(async (port, old) => {
      const next = await launch(port, here('reuseport.mjs'));
      await old.end();
      return next;
    }, here('reuseport.mjs')),
};

/** What everybody else is there to avoid. */
export const stopAndStart: Entrant = {
  name: 'stop, start',
  replaces: 'process',
  start: () =>
    restarted(async (port, old) => {
      await old.end();
      return launch(port, PLAIN);
    }, PLAIN),
};

async function restarted(replace: (port: number, old: Program) => Promise<Program>, app: string): Promise<Contestant> {
  const port = await freePort();
  let program = await launch(port, app);
  return {
    port,
    async trigger() {
      program = await replace(port, program);
      return {};
    },
    end: () => program.end(),
  };
}

/** How long the same app takes to start without any handover, while another one serves the same load beside it. */
export const bareStart: Entrant = {
  name: 'bare cold start',
  replaces: 'none',
  async start() {
    const port = await freePort();
    const program = await launch(port, PLAIN);
    return {
      port,
      async trigger() {
        const own = await freePort();
        const spawn = process.hrtime.bigint();
        const beside = new Program({ args: [PLAIN], env: { PORT: String(own), BENCH_MARKS: '1' } });
        const marks = told(beside, ['accepting', 'accepted']);
        try {
          await answers(own, 1);
          return { spawn, ...(await marks) };
        } finally {
          await beside.end();
        }
      },
      end: () => program.end(),
    };
  },
};

export const OURS: readonly Entrant[] = [self, standby, supervisor];
export const NODE_SERVERS: readonly Entrant[] = [cluster, reusePort, stopAndStart];
