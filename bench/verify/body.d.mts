// The types of body.mjs.
export const BODY: Buffer;
