// The types of options.mjs.

/** The caller erred: the message is all there is to say. */
export class UsageError extends Error {}

export interface Option<T> {
  /** For the message, where the value is another. */
  readonly expects: string;
  /** Undefined: the value is none that is expected. */
  readonly read: (text: string | undefined) => T | undefined;
  readonly short?: string;
}

export const FLAG: Option<true>;
export const HELP: Option<true>;
/** A number in decimal digits, with a fraction or without. */
export function decimal(expects: string, isRight: (value: number) => boolean): Option<number>;
export function whole(least: number, most: number): Option<number>;
/** A text that is not empty. */
export function some(expects: string): Option<string>;
export function some<T>(expects: string, read: (text: string) => T | undefined): Option<T>;

/** @throws UsageError naming the option, what it expects and what it got */
export function readOptions<T extends object>(
  args: readonly string[],
  known: { readonly [Name in keyof T]: Option<T[Name]> },
): { readonly values: Partial<T>; readonly positionals: readonly string[] };

/** @throws UsageError there is an argument that is no option */
export function refuseArguments(positionals: readonly string[]): void;
