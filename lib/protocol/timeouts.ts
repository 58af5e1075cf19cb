// How long things may take that no option names, in milliseconds: they ask nothing of the app.

/** A process that dials in says HELLO at once, and a predecessor has its HELLO and MANIFEST on the way already. */
export const GREETING_TIMEOUT = 10_000;

/** A successor that does not answer COMMIT hangs. */
export const COMMIT_TIMEOUT = 10_000;

/** From SIGTERM to SIGKILL; for a process that has shown no sign of life. */
export const STOP_GRACE = 5_000;
export const SILENT_GRACE = 1_000;

/** A process whose channel has ended is usually ending: how long it may take before it is stopped. */
export const EXIT_GRACE = 1_000;

/** How long the stderr pipe of an ended process may stay open in a child of its own. */
export const TAIL_GRACE = 250;

/** How long a duty may take to end before another process takes it up. */
export const DUTY_GRACE = 1_000;

/** A successor in charge may be busy for this many times longer than one on probation before it counts as hung. */
export const SERVING_PATIENCE = 5;

/** How long an older generation may leave it open whether it takes back, before it counts as hung. */
export const HEIR_PATIENCE = 20_000;

/** How long a process that leaves waits for the predecessor to say which of the connections on offer are its own. */
export const LEAVE_GRACE = 1_000;

/** A worker that is given connections of another one answers an offer, its app included, or hangs. */
export const HELD_TIMEOUT = 10_000;

/** In which the kernel tells of a death that was before. */
export const DEATH_GRACE = 100;

/** How long a process that systemd keeps waits for its successor to have heard that it ends: it prepares for that then. */
export const RETIRE_GRACE = 5_000;
