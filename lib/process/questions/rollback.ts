// `handover rollback`: puts back the release of the workers that a paused roll has replaced.
import { type Question, question } from '../question.js';

export const rollback: Question = question({
  summary: 'put back the release of the workers that a paused roll has replaced',
  params: {},
  supervisor: (asked) => asked.rollBack(),
  lines: ({ workers }) => [`rolled back: ${workers.map(({ slot, pid }) => `worker ${slot} is pid ${pid}`).join(', ')}`],
});
