// The questions, by the name of their command, in the order of the help.
import type { Question } from './question.js';
import { resume } from './questions/resume.js';
import { rollback } from './questions/rollback.js';

export const QUESTIONS: Readonly<Record<string, Question>> = { resume, rollback };
