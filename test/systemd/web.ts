// examples/systemd/web.service in a real systemd, for tests: with a port, a program and a log of their own.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { LOCALHOST, privateFolder } from '../engine/engine.js';
import { freePort } from '../helpers/ports.js';
import type { Programs } from '../helpers/programs.js';
import { Systemd } from './systemd.js';

export const UNIT = 'web.service';

/** What a test could leave behind outside of its namespace. */
const surroundings = (): object => ({
  mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
  run: readdirSync('/run').sort(),
});

export const SERVER = new URL('../../examples/systemd/server.mjs', import.meta.url);

export interface Installed {
  readonly systemd: Systemd;
  readonly target: { readonly port: number; readonly host: string };
  /** What the service wrote to stderr. */
  readonly log: () => string;
  /** What differs from the example. */
  readonly dropIn: string;
  /** A file in the directory of the service. */
  readonly read: (name: string) => string;
  /** Replaces the program on disk. */
  readonly release: (text: string) => void;
}

/** examples/systemd/web.service, with the paths of this test. */
export function useInstalled(programs: Programs): (more?: string) => Promise<Installed> {
  return async (more = '') => {
    const before = surroundings();
    const target = { port: freePort(), host: LOCALHOST };
    const folder = privateFolder();
    const file = (name: string): string => join(folder, name);
    const read = (name: string): string => readFileSync(file(name), 'utf8');
    const release = (text: string): void => writeFileSync(file('release.mjs'), text);
    release(`await import(${JSON.stringify(SERVER.href)});`);
    const systemd = await Systemd.start(programs);
    onTestFinished(() => expect(surroundings()).toEqual(before));
    const dropIn = `[Service]
WorkingDirectory=${folder}
Environment=PORT=${target.port}
ExecStart=
ExecStart=${process.execPath} release.mjs
StandardError=append:${file('log')}
${more}
`;
    await systemd.install(UNIT, dropIn);
    return { systemd, target, release, log: () => read('log'), read, dropIn };
  };
}
