// The outcome of a run, as a table for people and as the JSON line for programs.

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
 * @property {number} migrated Connections that went on in the next generation, over all handovers.
 * @property {number} drained Connections that ended in the generation that had them when it was superseded.
 * @property {import('./load.mjs').Stats} stats
 * @property {Record<string, number>} answers By pid.
 * @property {{ kind: string, detail: string, path?: string }[]} failures The first failed requests, in full.
 * @property {string[]} problems Whatever else went wrong.
 */

/** Messages that did not arrive once and in their order. */
function spoilt({ webSockets: { lost, doubled, reordered } }) {
  return lost + doubled + reordered;
}

/** Connections a server should have moved and has closed. */
function closed({ closedByServer, webSockets }) {
  return closedByServer + webSockets.closed;
}

/** @param {Result} result */
export function succeeded({ stats, problems }) {
  return stats.failed === 0 && closed(stats) === 0 && spoilt(stats) === 0 && problems.length === 0;
}

/** @param {Result} result */
export function toJson({ handovers, generations, migrated, drained, stats }) {
  const { webSockets } = stats;
  return JSON.stringify({
    handovers: handovers.length,
    requests: { ok: stats.ok, failed: stats.failed },
    connections: { opened: stats.opened, closedByServer: stats.closedByServer, migrated, drained },
    websockets: { open: webSockets.open, closed: webSockets.closed, messagesLost: spoilt(stats) },
    switchMs: handovers.map(({ switchTime }) => Math.round(switchTime * 10) / 10),
    generations: generations.map(({ generation }) => generation),
  });
}

/**
 * @param {Result} result
 * @param {import('./text.mjs').Paint} paint
 */
export function toTable(result, paint) {
  const { seconds, handovers, generations, migrated, drained, stats, answers } = result;
  const { webSockets } = stats;
  const zero = (number) => paint(number === 0 ? 'good' : 'bad', count(number));
  const answered = ({ process: { pid } }) => count(answers[pid] ?? 0);
  const rows = handovers.map(({ from, to, switchTime }, index) => [
    String(index + 1),
    `${from.generation} -> ${to.generation}`,
    `${from.process.pid} -> ${to.process.pid}`,
    milliseconds(switchTime),
    answered(to),
  ]);
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
        ['requests failed', zero(stats.failed)],
        ...stats.failures.map(([kind, times, meaning]) => [`  ${kind}`, `${count(times)}  ${meaning}`]),
        ['connections opened', count(stats.opened)],
        ['connections closed by the server', zero(stats.closedByServer)],
        ['connections that moved', `${count(migrated)}  over all handovers`],
        ['connections that ended where they were', `${count(drained)}  one-request clients, mostly`],
        ['WebSockets open', count(webSockets.open)],
        ['WebSockets closed', zero(webSockets.closed)],
        ['messages answered', count(webSockets.messages)],
        ['messages lost', zero(webSockets.lost)],
        ['messages doubled, out of order', `${zero(webSockets.doubled)}, ${zero(webSockets.reordered)}`],
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
  const { ok, webSockets } = result.stats;
  const messages = webSockets.messages > 0 ? ` and all ${count(webSockets.messages)} messages echoed in order` : '';
  return paint('good', `All ${count(ok)} requests answered whole and right${messages}, no connection closed.`);
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
    ...(closed(stats) > 0 ? ['', paint('bad', `${count(closed(stats))} connections closed by the server`)] : []),
    ...(spoilt(stats) > 0 ? ['', paint('bad', `${count(spoilt(stats))} messages lost, doubled or out of order`)] : []),
    ...(problems.length > 0 ? ['', ...problems.map((problem) => paint('bad', problem))] : []),
  ];
}
