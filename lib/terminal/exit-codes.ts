// Exit codes of the command; docs/command-line.md has the table, and a test compares it with these.

export const EXIT = {
  ok: 0,
  /** The command did not succeed, or the doctor found a failure. */
  failed: 1,
  /** The command line is wrong; the command did nothing. */
  usage: 2,
  /** No process answers at the control socket, or there is none. */
  nobody: 3,
  /** A process answers, and this user may not control it. */
  forbidden: 4,
  /** `--sla`: no limit is broken, and an operator should look at the report. */
  review: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with this exit code and message. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
