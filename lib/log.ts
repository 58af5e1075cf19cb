// `handover/log`: log lines of handovers, for apps that do not use `serve()`.
export { type Logger, logHandover, stderrLogger } from './observe/log.js';
