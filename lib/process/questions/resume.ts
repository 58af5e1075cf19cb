// `handover resume`: continues a paused roll.
import { type Question, question } from '../question.js';

export const resume: Question = question({
  summary: 'go on with a roll of handover run that has paused',
  params: {},
  supervisor: (asked) => asked.resume(),
  lines: ({ workers }) => [
    `the roll went on: ${workers.map(({ slot, pid }) => `worker ${slot} is pid ${pid}`).join(', ')}`,
  ],
});
