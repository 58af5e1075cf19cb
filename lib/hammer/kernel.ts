// Counters of the kernel for this network namespace during the run: evidence that does not depend on the client.
import { readFileSync } from 'node:fs';

/** From /proc/net/netstat (TcpExt) and /proc/net/snmp (Tcp). */
export const KERNEL_COUNTERS = [
  'ListenOverflows',
  'ListenDrops',
  'OutRsts',
  'RetransSegs',
  'TCPMigrateReqSuccess',
  'TCPMigrateReqFailure',
] as const;

export type KernelCounts = Readonly<Partial<Record<(typeof KERNEL_COUNTERS)[number], number>>>;

/** The counters that this kernel has; empty without /proc. */
export function readKernel(folder: string = '/proc/net'): KernelCounts {
  const all = new Map<string, number>();
  for (const file of ['netstat', 'snmp']) {
    const lines = readLines(`${folder}/${file}`);
    // Pairs of lines: `Tcp: NAME NAME …` and `Tcp: VALUE VALUE …`.
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const names = (lines[i] ?? '').split(' ');
      const values = (lines[i + 1] ?? '').split(' ');
      if (names[0] !== 'TcpExt:' && names[0] !== 'Tcp:') continue;
      for (const [position, name] of names.entries()) all.set(name, Number(values[position]));
    }
  }
  return Object.fromEntries(KERNEL_COUNTERS.flatMap((name) => (all.has(name) ? [[name, all.get(name)]] : [])));
}

/** The increase from one reading to the next. */
export function kernelDifference(before: KernelCounts, after: KernelCounts): KernelCounts {
  const names = KERNEL_COUNTERS.filter((name) => before[name] !== undefined && after[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]));
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    // The file exists only on Linux.
    return [];
  }
}
