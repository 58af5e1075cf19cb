// The outcome of a run, as a table for people and as the JSON line for programs.

import { failureKinds } from '../load/classify.mjs';
import { count, milliseconds, table } from './text.mjs';

/**
 * @typedef {object} Handover
 * @property {import('./server.mjs').Generation} from
 * @property {import('./server.mjs').Generation} to
 * @property {number} switchTime Milliseconds from the signal to the first whole answer of the new generation.
 *
 * @typedef {object} Result
 * @property {number} seconds
 * @property {Handover[]} handovers Those that succeeded.
 * @property {import('./server.mjs').Generation[]} generations
 * @property {import('../load/stats.mjs').Stats} stats
 * @property {Record<string, number>} answers By pid.
 * @property {{ kind: string, detail: string, path?: string }[]} failures The first failed requests, in full.
 * @property {string[]} problems Whatever else went wrong.
 */

/** @param {Result} result */
export function succeeded({ stats, problems }) {
  return stats.failed === 0 && problems.length === 0;
}

/** @param {Result} result */
export function toJson({ handovers, generations, stats }) {
  return JSON.stringify({
    handovers: handovers.length,
    requests: { ok: stats.ok, failed: stats.failed },
    connections: { opened: stats.opened, closedByServer: stats.closedByServer },
    switchMs: handovers.map(({ switchTime }) => Math.round(switchTime * 10) / 10),
    generations: generations.map(({ generation }) => generation),
  });
}

/**
 * @param {Result} result
 * @param {import('./text.mjs').Paint} paint
 */
export function toTable(result, paint) {
  const { seconds, handovers, generations, stats, answers } = result;
  const answered = ({ process: { pid } }) => count(answers[pid] ?? 0);
  const rows = handovers.map(({ from, to, switchTime }, index) => [
    String(index + 1),
    `${from.generation} -> ${to.generation}`,
    `${from.process.pid} -> ${to.process.pid}`,
    milliseconds(switchTime),
    answered(to),
  ]);
  const failed = Object.entries(stats.failures).filter(([, times]) => times > 0);
  return [
    table(['handover', 'generation', 'pid', 'switch', 'answers of the new'], rows, paint),
    '',
    table(
      ['total', ''],
      [
        ['seconds', seconds.toFixed(1)],
        ['handovers', String(handovers.length)],
        [
          'generations',
          `${generations.length} (the first gave ${generations.length > 0 ? answered(generations[0]) : 0} answers)`,
        ],
        ['requests answered right', count(stats.ok)],
        ['requests failed', paint(stats.failed === 0 ? 'good' : 'bad', count(stats.failed))],
        ...failed.map(([kind, times]) => [`  ${kind}`, `${count(times)}  ${failureKinds[kind]}`]),
        ['connections opened', count(stats.opened)],
        ['connections closed by the server', count(stats.closedByServer)],
      ],
      paint,
    ),
    ...troubles(result, paint),
    '',
    verdict(result, paint),
  ].join('\n');
}

function verdict(result, paint) {
  if (!succeeded(result)) return paint('bad', 'FAILED');
  const closed = result.stats.closedByServer === 0 ? ', no connection closed' : '';
  return paint('good', `All ${count(result.stats.ok)} requests answered whole and right${closed}.`);
}

/**
 * What went wrong, line by line; nothing if nothing did.
 * @param {Result} result
 * @param {import('./text.mjs').Paint} paint
 */
export function troubles({ stats, failures, problems }, paint) {
  const shown = failures.slice(0, 10).map(({ kind, detail, path }) => `  ${kind}${path ? ` ${path}` : ''}: ${detail}`);
  return [
    ...(shown.length > 0
      ? ['', paint('bad', `first ${shown.length} of ${count(stats.failed)} failed requests`), ...shown]
      : []),
    ...(problems.length > 0 ? ['', ...problems.map((problem) => paint('bad', problem))] : []),
  ];
}
