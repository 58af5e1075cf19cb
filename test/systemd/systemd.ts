// A real systemd for tests: a user manager of their own, in a namespace that ends with it (see with-systemd).
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Program, Programs } from '../helpers/programs.js';
import { until } from '../helpers/until.js';

const WITH_SYSTEMD = fileURLToPath(new URL('with-systemd', import.meta.url));
const INSIDE = fileURLToPath(new URL('fixtures/inside.mjs', import.meta.url));
const UNDER = new URL('../handover/fixtures/under.mjs', import.meta.url);
const EXAMPLES = new URL('../../examples/systemd/', import.meta.url);

/** Whether a manager can be started here: it needs root, systemd, namespaces. */
export function hasSystemd(): boolean {
  return process.platform === 'linux' && spawnSync(WITH_SYSTEMD, ['true'], { stdio: 'ignore' }).status === 0;
}

/** What `systemctl show` says, property by property. */
export type Properties = Readonly<Record<string, string>>;

export class Systemd {
  readonly #program: Program;
  #orders = 0;

  private constructor(program: Program) {
    this.#program = program;
  }

  static async start({ start }: Pick<Programs, 'start'>): Promise<Systemd> {
    const program = start(UNDER, { args: [WITH_SYSTEMD, process.execPath, INSIDE] });
    await program.message('ready', 20_000);
    return new Systemd(program);
  }

  /**
   * The unit of examples/systemd, with what is different here: the same unit with a drop-in, as an operator would do it.
   * `name`: another unit with the same content.
   */
  async install(unit: string, dropIn: string, name = unit): Promise<void> {
    await this.#order({ file: name, text: readFileSync(new URL(unit, EXAMPLES), 'utf8') });
    await this.#order({ file: `${name}.d/test.conf`, text: dropIn });
    await this.systemctl('daemon-reload');
  }

  /** @throws it failed, with what it wrote to stderr */
  async systemctl(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#order({ args });
    if (status !== 0)
      throw new Error(`systemctl ${args.join(' ')} failed with ${status}: ${stderr}\n${this.#program.stderr}`);
    return stdout;
  }

  async show(unit: string): Promise<Properties> {
    const lines = (await this.systemctl('show', unit)).split('\n');
    return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2)));
  }

  /** Resolves with what `look` makes of the unit's properties as soon as that is neither undefined nor false. */
  when<T>(unit: string, what: string, look: (properties: Properties) => T | undefined | false): Promise<T> {
    let seen: T | undefined | false;
    let isAsking = false;
    const ask = async (): Promise<void> => {
      isAsking = true;
      seen = look(await this.show(unit));
      isAsking = false;
    };
    return until(
      () => {
        if ((seen === undefined || seen === false) && !isAsking) void ask();
        return seen;
      },
      { what: `${unit} ${what}`, timeout: 20_000, interval: 20 },
    );
  }

  /** Resolves with the main process' pid when the unit is up, and has another main process than `not`. */
  mainPid(unit: string, not = 0): Promise<number> {
    return this.when(unit, `to have another main process than ${not}`, ({ MainPID, ActiveState }) => {
      const pid = Number(MainPID);
      return ActiveState === 'active' && pid !== not && pid > 0 && pid;
    });
  }

  /** What the manager wrote to stderr. */
  get log(): string {
    return this.#program.stderr;
  }

  /** Ends the manager, and everything it started. */
  async stop(): Promise<void> {
    this.#program.child.stdin?.end();
    await this.#program.exit(20_000);
    await this.#program.closed;
  }

  async #order(order: object): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
    const id = ++this.#orders;
    this.#program.tell({ id, ...order });
    return this.#program.message(`done ${id}`, 30_000);
  }
}
