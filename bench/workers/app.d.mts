// The type of what the benchmarks use of app.mjs.

export const body: string;
