// The programs of examples/, started as their header says, and handed over by the signal they name.
import { fileURLToPath } from 'node:url';
import { freePort, untilAccepted } from '../helpers/ports.js';
import type { Followed, Program, Programs } from '../helpers/programs.js';
import { until } from '../helpers/until.js';

const AUTO = new URL('../../dist/auto.js', import.meta.url).href;

/** Three times what a handover takes with the default probation on a machine that does something else. */
const HANDOVER_TIMEOUT = 20_000;

export interface ExampleOptions {
  /** Preloads handover/auto. */
  readonly auto?: boolean;
  /** Says on stderr what its handover does, with its pid, where it asks for LOG=1. */
  readonly log?: boolean;
}

/** One of examples/, and its successors. */
export class Example {
  readonly port: number;
  readonly program: Program;
  /** The process in charge. */
  current: Followed;
  readonly #programs: Programs;

  private constructor(programs: Programs, program: Program, port: number) {
    this.#programs = programs;
    this.program = program;
    this.port = port;
    this.current = programs.follow(program.pid);
  }

  /** Starts it and waits until it accepts. */
  static async start(
    programs: Programs,
    name: string,
    { auto = false, log = false }: ExampleOptions = {},
  ): Promise<Example> {
    const port = freePort();
    const file = new URL(`../../examples/${name}`, import.meta.url);
    const program = programs.start(file, {
      env: { PORT: String(port), ...(log && { LOG: '1' }) },
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      execArgv: auto ? ['--import', AUTO] : [],
    });
    const example = new Example(programs, program, port);
    const ended = program.exit(60_000).then(({ code, signal }) => {
      throw new Error(`${name} ended with ${signal ?? code} before it accepted:\n${program.stderr}`);
    });
    ended.catch(() => {});
    await Promise.race([untilAccepted(port, HANDOVER_TIMEOUT), ended]);
    return example;
  }

  /** Signals the process in charge; `seen` tells who answers now. Resolves when the old one has gone. */
  async handOver(seen: () => Iterable<number>): Promise<void> {
    const before = new Set(seen());
    const old = this.current;
    old.signal('SIGUSR2');
    const next = await until(() => [...seen()].find((pid) => !before.has(pid)), {
      what: `another process to answer:\n${this.program.stderr}`,
      timeout: HANDOVER_TIMEOUT,
      interval: 10,
    });
    this.current = this.#programs.follow(next);
    await old.gone(HANDOVER_TIMEOUT);
  }

  async stop(): Promise<void> {
    this.current.signal('SIGTERM');
    await this.current.gone();
  }
}
