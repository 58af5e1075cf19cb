// How the command ends; docs/command-line.md has the table, and a test holds it to these.

export const EXIT = {
  ok: 0,
  /** What was asked for did not come about, or the doctor found a failure. */
  failed: 1,
  /** The command line was wrong: nothing was done. */
  usage: 2,
  /** No process answers at the control socket, or there is none. */
  nobody: 3,
  /** There is one, and this user may not ask it. */
  forbidden: 4,
  /** `--sla`: nothing is known to be wrong, and somebody should look. */
  review: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Why the command ends without having done what it was asked. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
