// Programs that know nothing of the package, preloaded with `--import handover/auto`.
import { fileURLToPath } from 'node:url';
import type { App, Apps, Boot, Chain } from '../handover/apps.js';
import type { StartOptions } from '../helpers/programs.js';

export const AUTO = new URL('../../dist/auto.js', import.meta.url).href;

/** Starts such a program and its successors; `options` are those of HANDOVER_AUTO. */
export function preload(
  { chain }: Apps,
  boots: Boot | readonly Boot[],
  options: object = {},
  { execArgv = [], ...rest }: StartOptions = {},
): Promise<{ chain: Chain; first: App }> {
  const env = { ...rest.env, HANDOVER_AUTO: JSON.stringify({ probation: { duration: 0 }, ...options }) };
  return chain(boots, { ...rest, env, execArgv: ['--import', AUTO, ...execArgv] });
}

/** Hands over by signal; the next process, when it is in charge and the one before has gone. */
export async function replace(processes: Chain, app: App, number: number): Promise<App> {
  app.process.signal('SIGUSR2');
  const next = await processes.generation(number);
  await next.said('handover:in-charge');
  await app.gone();
  return next;
}

export async function terminate(app: App): Promise<void> {
  app.process.signal('SIGTERM');
  await app.gone();
}

export const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
