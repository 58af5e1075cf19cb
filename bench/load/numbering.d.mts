// The types of numbering.mjs, for its test.

export class Numbering {
  sent: number;
  received: number;
  doubled: number;
  reordered: number;
  readonly lost: number;
  next(): number;
  receive(text: string): void;
  hasAnswered(number: number): boolean;
}
