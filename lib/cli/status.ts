// `handover status`: shows the status of a process or supervisor, and which processes hold its listeners.

import { holdersOf } from '../fd/holders.js';
import { lockers } from '../fd/lockers.js';
import type { ListenerStatus, Status } from '../protocol/control-commands.js';
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { describeCharge, shareholdersOf } from './charge.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  summary: 'generation, phase, listeners and their queues, connections, what drains',
  options: COMMON_OPTIONS,
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const { output } = context;
  const status = withHolders(await ask(context, 'status', {}));
  output.json(status);
  output.line(
    `${output.styled('bold', `generation ${status.generation}`)}  ${status.kind} ${status.pid}  ${status.phase}  ` +
      `for ${age(status.ageMs)}  ${status.isInCharge ? 'in charge' : 'not in charge'}`,
  );
  showListeners(context, status.listeners);
  showCharges(context, status);
  showGenerations(context, status);
  for (const [name, value] of Object.entries(status.roll ?? {})) output.line(`roll ${name}: ${show(value)}`);
  return EXIT.ok;
}

function withHolders(status: Status): Status {
  const holders = holdersOf(status.listeners.map(({ inode }) => inode));
  const listeners = status.listeners.map((listener) => ({ ...listener, pids: holders.get(listener.inode) ?? [] }));
  if (status.charges === undefined) return { ...status, listeners };
  const seen = lockers();
  const charges = status.charges.map((charge) => ({ ...charge, ...shareholdersOf(seen, charge.inode) }));
  return { ...status, listeners, charges };
}

function showCharges({ output }: Context, { charges = [] }: Status): void {
  if (charges.length > 0) output.line();
  for (const charge of charges) {
    output.line(`charge${charge.slot === undefined ? '' : ` of slot ${charge.slot}`}: ${describeCharge(charge)}`);
  }
}

function showListeners({ output }: Context, listeners: readonly ListenerStatus[]): void {
  if (listeners.length === 0) return;
  output.line();
  output.table([
    ['listener', 'address', 'backlog', 'effective', 'waiting', 'held by'],
    ...listeners.map(({ name, address, bound, backlogAsked, backlogEffective, queueDepth, pids = [] }) => [
      name,
      bound === undefined || address.endsWith(bound) ? address : `${address} (${bound})`,
      show(backlogAsked),
      show(backlogEffective),
      show(queueDepth),
      pids.join(' ') || '?',
    ]),
  ]);
}

function showGenerations({ output }: Context, { connections, draining, workers = [] }: Status): void {
  output.line();
  const ages = new Map(draining.map(({ pid, ageMs }) => [pid, ageMs]));
  const states = new Map(workers.map(({ pid, phase }) => [pid, phase]));
  output.table([
    ['generation', 'pid', 'connections', ''],
    ...connections.map(({ generation, pid, connections: count }) => {
      const drainsFor = ages.get(pid);
      const state = drainsFor === undefined ? (states.get(pid) ?? '') : `drains for ${age(drainsFor)}`;
      return [String(generation), String(pid), String(count), state];
    }),
  ]);
}

function show(value: unknown): string {
  return value === undefined ? '?' : typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function age(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}
