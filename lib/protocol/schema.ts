// Schemas for JSON payloads of other processes: each is declared once, its type is inferred, and unknown fields are ignored.

/** Returns the value with its type. @throws Error naming the place of a wrong value, and what was expected there */
export type Schema<T> = (value: unknown, where: string) => T;

/** The type a schema yields. */
export type Infer<S> = S extends Schema<infer T> ? T : never;

function refuse(where: string, expected: string): never {
  throw new Error(`${where} is not ${expected}`);
}

export const string: Schema<string> = (value, where) => (typeof value === 'string' ? value : refuse(where, 'a string'));

export const boolean: Schema<boolean> = (value, where) =>
  typeof value === 'boolean' ? value : refuse(where, 'a boolean');

/** A non-negative integer, as every number of the wire format is. */
export const integer: Schema<number> = (value, where) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : refuse(where, 'a non-negative integer');

export function list<T>(item: Schema<T>): Schema<T[]> {
  return (value, where) =>
    Array.isArray(value) ? value.map((element, i) => item(element, `${where}[${i}]`)) : refuse(where, 'a list');
}

export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return (value, where) => (value === undefined ? undefined : schema(value, where));
}

type Fields = Readonly<Record<string, Schema<unknown>>>;
type RecordOf<F extends Fields> = { readonly [K in keyof F]: Infer<F[K]> };

/** Keeps the named fields only, and so ignores fields that a newer version adds (guarantee G9). */
export function record<F extends Fields>(fields: F): Schema<RecordOf<F>> {
  return (value, where) => {
    if (typeof value !== 'object' || value === null) return refuse(where, 'an object');
    const source = value as Record<string, unknown>;
    return Object.fromEntries(
      Object.entries(fields).map(([name, schema]) => [name, schema(source[name], `${where}.${name}`)]),
    ) as RecordOf<F>;
  };
}
