// Exactness of types for the *.test-d.ts files: equal means equal, not assignable.

/** True when A and B are the same type, `readonly`, `any` and optionality included. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** T without its `readonly`. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `same<Equal<A, B>>()` compiles only where A and B are the same type. */
export function same<_ extends true>(): void {}

// It can fail.
// @ts-expect-error any is nothing else
same<Equal<{ a: never }, { a: unknown }>>();
// @ts-expect-error readonly counts
same<Equal<{ readonly a: 1 }, { a: 1 }>>();
// @ts-expect-error optional is not undefined
same<Equal<{ a?: 1 }, { a: 1 | undefined }>>();
