// What people and programs get: the table of verdicts, the object `--json` ends with, and the files in the directory.
import { execFile } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Check } from './checks.js';
import type { Evidence } from './evidence.js';
import type { VerifyOptions } from './options.js';
import { COMMAND } from './target.js';

export interface Report {
  readonly verdict: 'PASS' | 'FAIL' | 'INTERRUPTED';
  readonly date: string;
  readonly kernel: string;
  readonly node: string;
  readonly cpus: number;
  /** Measured; the warm-up came before. */
  readonly minutes: number;
  readonly everyMs: number;
  readonly handovers: number;
  readonly requests: { readonly ok: number; readonly lost: number };
  readonly connections: { readonly opened: number; readonly closedByServer: number };
  readonly checks: readonly Check[];
  /** The directory with everything else. */
  readonly out: string;
  readonly files: readonly string[];
  /** Heap snapshots, kept where a check failed. */
  readonly snapshots: readonly string[];
}

export interface Outcome {
  readonly options: VerifyOptions;
  readonly evidence: Evidence;
  readonly checks: readonly Check[];
  readonly out: string;
  readonly isInterrupted: boolean;
}

/** Writes the files, deletes the snapshots nobody needs, and returns what is to be said. */
export async function writeReport(outcome: Outcome): Promise<{ readonly report: Report; readonly text: string }> {
  const { options, evidence, checks, out, isInterrupted } = outcome;
  const hasFailed = checks.some(({ verdict }) => verdict === 'FAIL');
  const keepsSnapshots = hasFailed && !isInterrupted;
  if (!keepsSnapshots) for (const file of evidence.snapshots) rmSync(file, { force: true });
  const { targets } = evidence;
  const sum = (of: (target: (typeof targets)[number]) => number | undefined): number =>
    targets.reduce((total, target) => total + (of(target) ?? 0), 0);
  const report: Report = {
    verdict: isInterrupted ? 'INTERRUPTED' : hasFailed ? 'FAIL' : 'PASS',
    date: new Date().toISOString(),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version.slice(1),
    cpus: os.availableParallelism(),
    minutes: Math.round(evidence.minutes * 1_000) / 1_000,
    everyMs: options.every,
    handovers: sum(({ handovers }) => handovers.completed),
    requests: {
      ok: sum(({ load, raw }) => (load?.requests.ok ?? 0) + raw.answered),
      lost: sum(({ load, raw }) => (load?.requests.lost ?? 0) + raw.sent - raw.answered),
    },
    connections: {
      opened: sum(({ load }) => load?.connections.opened),
      closedByServer: sum(({ load, raw }) => (load?.connections.closedByServer ?? 0) + raw.closed),
    },
    checks,
    out,
    files: ['report.txt', 'report.json', ...(await pages(outcome))],
    snapshots: keepsSnapshots ? evidence.snapshots : [],
  };
  const text = textOf(report, outcome);
  writeFileSync(join(out, 'report.txt'), text);
  writeFileSync(join(out, 'report.json'), `${JSON.stringify({ ...report, evidence }, undefined, 2)}\n`);
  return { report, text };
}

function textOf(report: Report, { options, evidence, isInterrupted }: Outcome): string {
  const { verdict, minutes, handovers, requests, connections, checks, out, snapshots } = report;
  const failed = checks.filter((check) => check.verdict === 'FAIL').length;
  const passed = `${checks.length - failed} of ${checks.length} checks`;
  const head = isInterrupted
    ? `INTERRUPTED after ${minutes} of ${options.minutes} minutes: ${passed} until then`
    : `${verdict}: ${passed}, ${minutes} minutes`;
  const rows = checks.map(({ name, verdict: each, number, unit, bound, reason }) => {
    const measured = number === null ? 'not measured' : `${Number(number.toFixed(3))} ${unit}`;
    return [`${each}  ${name}`, measured, bound, reason] as const;
  });
  const columns = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column as 0].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(columns[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    `${head}, a handover every ${options.every} ms, ${report.date.slice(0, 10)}, ${report.kernel}, Node ${report.node}, ${report.cpus} CPUs`,
    `${count(handovers)} handovers, ${count(requests.ok)} requests answered, ${count(requests.lost)} lost, ` +
      `${count(connections.opened)} connections opened, ${count(connections.closedByServer)} closed by a server`,
    ...evidence.targets.flatMap(({ kind, load }) => {
      if (load === undefined) return [];
      const { p50, p99, max } = load.latencyMs;
      const gap = `longest gap ${load.longestGapMs} ms (a heap snapshot stops a server, too)`;
      return [`${kind}: answers in ${p50} ms (p50), ${p99} (p99), ${max} (most); ${gap}`];
    }),
    '',
    ...lines,
    '',
    ...(isInterrupted ? [] : evidence.missingSnapshots.map((which) => `heap snapshot not there: ${which}`)),
    ...snapshots.map((file) => `heap snapshot kept: ${file}`),
    `everything is in ${out}`,
    '',
  ].join('\n');
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** The load as `handover report` draws it, where this version has that command. */
async function pages({ evidence, out }: Outcome): Promise<string[]> {
  const files: string[] = [];
  for (const { kind } of evidence.targets) {
    const data = kind === 'chain' ? 'data.json' : `data-${kind}.json`;
    if (!existsSync(join(out, data))) continue;
    files.push(data);
    const page = data.replace(/json$/, 'html');
    const args = [COMMAND, 'report', join(out, data), '--out', join(out, page)];
    await promisify(execFile)(process.execPath, args).catch(() => {}); // no such command: the data is there
    if (existsSync(join(out, page))) files.push(page);
  }
  return files;
}
