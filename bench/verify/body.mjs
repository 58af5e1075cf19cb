// The body of every right answer: long enough not to fit into one segment.
export const BODY = Buffer.from(
  Array.from({ length: 512 }, (_, line) => `${String(line).padStart(7, '0')}\n`).join(''),
);
