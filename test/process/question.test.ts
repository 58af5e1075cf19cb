// Questions: the command and the methods of the control socket that are made from a declaration.
import { describe, expect, it } from 'vitest';
import { commandOfQuestion } from '../../lib/cli/question.js';
import type { AskedProcess } from '../../lib/process/asked.js';
import type { Method } from '../../lib/process/control.js';
import { question, questionMethods } from '../../lib/process/question.js';

const echo = question({
  summary: 'says what it was asked',
  params: {
    loud: { kind: 'flag', help: 'in capitals' },
    times: { kind: 'count', help: 'so often' },
    text: { kind: 'text', help: 'this' },
  },
  process: (_asked, { loud, times, text = 'nothing' }) => ({
    said: (loud ? text.toUpperCase() : text).repeat(times),
  }),
  lines: ({ said }) => [said],
});

const NOBODY = {} as AskedProcess;
const call = { peer: { pid: 1, uid: 0 }, tell: () => {} };

describe('a question', () => {
  it('is answered with the parameters as it declares them', async () => {
    const { echo: method } = questionMethods({ echo }, ({ process }) => process?.bind(undefined, NOBODY));
    const ask = method as Method;
    expect(await ask({ ...call, params: { times: 2, loud: true, text: 'ab', fromTheFuture: 1 } })).toEqual({
      said: 'ABAB',
    });
    expect(await ask({ ...call, params: { times: 1 } })).toEqual({ said: 'nothing' });
    expect(() => ask({ ...call, params: { times: 'often' } })).toThrow(/"times" must be an integer from 1/);
  });

  it('is no method of whoever does not answer it', () => {
    expect(questionMethods({ echo }, ({ supervisor }) => supervisor && (() => ({})))).toEqual({});
  });

  it('has its parameters as options of its command', () => {
    const { summary, options } = commandOfQuestion('echo', echo);
    expect([summary, Object.keys(options)]).toEqual([
      'says what it was asked',
      ['loud', 'times', 'text', 'control', 'json'],
    ]);
    expect(options).toMatchObject({
      loud: { type: 'boolean', help: 'in capitals' },
      times: { type: 'string', value: 'COUNT', help: 'so often' },
    });
  });
});
