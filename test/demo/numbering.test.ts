// The numbering of messages: what is lost, doubled or out of order is counted, each once.
import { describe, expect, test } from 'vitest';
import { Numbering } from '../../bench/load/numbering.mjs';

/** Sends so many, hears these, and tells what became of them. */
function hear(sent: number, answers: readonly string[]): { lost: number; doubled: number; reordered: number } {
  const numbering = new Numbering();
  for (let i = 0; i < sent; i++) numbering.next();
  for (const answer of answers) numbering.receive(answer);
  const { lost, doubled, reordered } = numbering;
  return { lost, doubled, reordered };
}

describe('numbered messages', () => {
  test.each([
    ['all there', ['1 1', '2 2', '3 3'], { lost: 0, doubled: 0, reordered: 0 }],
    ['the last one lost', ['1 1', '2 2'], { lost: 1, doubled: 0, reordered: 0 }],
    ['one lost on the way there', ['1 1', '2 3'], { lost: 1, doubled: 0, reordered: 0 }],
    ['one lost on the way back', ['1 1', '3 3'], { lost: 1, doubled: 0, reordered: 0 }],
    ['one twice', ['1 1', '2 2', '2 2', '3 3'], { lost: 0, doubled: 1, reordered: 0 }],
    ['two exchanged', ['2 2', '1 1', '3 3'], { lost: 0, doubled: 0, reordered: 1 }],
    ['a server that has forgotten its count', ['1 1', '2 2', '1 3'], { lost: 1, doubled: 0, reordered: 0 }],
    ['one nobody sent', ['1 1', '2 2', '3 3', '4 4'], { lost: 1, doubled: 0, reordered: 0 }],
    ['no number', ['1 1', '2 2', '3 3', 'hello'], { lost: 1, doubled: 0, reordered: 0 }],
  ])('%s', (_name, answers, expected) => {
    expect(hear(3, answers)).toEqual(expected);
  });

  test('a message is answered when it, or a later one, is', () => {
    const numbering = new Numbering();
    for (let i = 0; i < 3; i++) numbering.next();
    numbering.receive('1 1');
    expect([numbering.hasAnswered(1), numbering.hasAnswered(2)]).toEqual([true, false]);
    numbering.receive('3 3');
    expect(numbering.hasAnswered(2)).toBe(true);
  });
});
