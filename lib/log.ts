// `handover/log`: log lines of handovers, for apps that do not use `serve()`.
import { writeStderr } from './handover/write-stderr.js';
import type { Logger } from './observe/log.js';

export { type Logger, logHandover } from './observe/log.js';

/** One line of text each, on stderr. Where that is closed they are lost. */
export const stderrLogger: Logger = {
  info: (_fields, message) => write(message),
  warn: (_fields, message) => write(message),
  error: (_fields, message) => write(message),
};

function write(message: string): void {
  writeStderr(Buffer.from(`handover[${process.pid}]: ${message}\n`));
}
