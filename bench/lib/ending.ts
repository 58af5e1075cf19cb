// What a benchmark has started, and its end: once, whoever asks for it and however often, also where it is interrupted.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Endable {
  end(): Promise<unknown>;
}

export class Ending implements Endable {
  readonly #owned: Endable[] = [];
  readonly #folders: string[] = [];
  #ended: Promise<void> | undefined;

  /** Right where it is made, before its start can fail or hang. @throws Error all has been ended; it, too, then */
  own<T extends Endable>(it: T): T {
    if (this.#ended === undefined) {
      this.#owned.push(it);
      return it;
    }
    it.end().catch(() => {});
    throw new Error('interrupted');
  }

  /** A new one, removed when those have ended who may write to it. */
  folder(): string {
    const made = mkdtempSync(join(tmpdir(), 'handover-bench-'));
    this.#folders.push(made);
    return made;
  }

  /** Resolves when all have ended. @throws Error why one did not; the others have */
  end(): Promise<void> {
    this.#ended ??= this.#endAll();
    return this.#ended;
  }

  async #endAll(): Promise<void> {
    const ends = await Promise.allSettled(this.#owned.map((it) => it.end()));
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    const failed = ends.find((it) => it.status === 'rejected');
    if (failed) throw failed.reason;
  }
}

/** Ends in any case what `act` has started. Ctrl-C, which npm delivers more than once, ends the process when that is done. */
export async function withEnding<T>(act: (ending: Ending) => Promise<T>): Promise<T> {
  const ending = new Ending();
  const endEarly = (): void => {
    const leave = (): void => process.exit(1);
    ending.end().then(leave, leave);
  };
  const names = ['SIGINT', 'SIGTERM'] as const;
  for (const name of names) process.on(name, endEarly);
  try {
    return await act(ending);
  } finally {
    await ending.end().finally(() => {
      for (const name of names) process.off(name, endEarly);
    });
  }
}
