// What scripts/options.mjs gives to the test of its page.
import type { HANDOVER_OPTIONS } from '../lib/process/options.js';

export function optionsPage(table: typeof HANDOVER_OPTIONS, read: (path: string) => string): string;
