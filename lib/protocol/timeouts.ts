// Limits of time for which there is no option, in milliseconds.

/** For HELLO of a process that dials in, and for HELLO and MANIFEST of the predecessor. Both send them at once. */
export const GREETING_TIMEOUT = 10_000;

/** For the answer to COMMIT. A successor that takes longer hangs. */
export const COMMIT_TIMEOUT = 10_000;

/** From SIGTERM to SIGKILL. */
export const STOP_GRACE = 5_000;
/** From SIGTERM to SIGKILL of a process that has sent no heartbeat for too long. */
export const SILENT_GRACE = 1_000;

/** For the exit of a process whose channel has ended. Usually it is ending; after this time it counts as alive. */
export const EXIT_GRACE = 1_000;

/** For the end of an ended process' stderr pipe, which a child of that process may hold open. */
export const TAIL_GRACE = 250;

/** For the end of a duty, before another process begins it. */
export const DUTY_GRACE = 1_000;

/** A factor: a successor in charge counts as hung after a silence so many times as long as one on probation. */
export const SERVING_PATIENCE = 5;

/** For the decision of a process that may take charge. One that does not decide by then counts as hung. */
export const HEIR_PATIENCE = 20_000;

/** For a last message to a peer that may be hung, and for GO or ABORT of each batch that a leaving successor holds. */
export const LEAVE_GRACE = 1_000;

/** For the verdicts of a worker that was offered connections of another worker, the decision of its app included. */
export const HELD_TIMEOUT = 10_000;

/** For the news of a death that has happened before: a dead process is seen to be dead within this time. */
export const DEATH_GRACE = 100;

/** For a successor under systemd to read RETIRE: it prepares itself to be the unit's main process before the exit. */
export const RETIRE_GRACE = 5_000;
