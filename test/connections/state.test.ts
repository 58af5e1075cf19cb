// The state of a connection on the wire: bytes stay bytes, JSON stays JSON, and what is neither is refused by name.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeState, encodeState } from '../../lib/protocols/state.js';

const through = (state: unknown): unknown => decodeState(encodeState('state', state));

describe('the state of a connection', () => {
  test('bytes stay what they are, whatever they begin with', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(through(bytes)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test('a JSON value stays what JSON makes of it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(through(value)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('one tag byte and the content', () => {
    expect(encodeState('state', Uint8Array.of(7, 8))).toEqual(Buffer.of(0, 7, 8));
    expect(encodeState('state', null)).toEqual(Buffer.from('\x01null'));
    expect(encodeState('state', { a: 'ü' })).toEqual(Buffer.from('\x01{"a":"ü"}'));
  });

  test('what is decoded is a copy: the frame it came in is not kept by it', () => {
    const frame = Buffer.of(9, 9, 0, 7, 8, 9);
    const state = decodeState(frame.subarray(2, 5));
    frame.fill(0);
    expect(state).toEqual(Buffer.of(7, 8));
  });

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  test.each([
    ['a function', () => {}],
    ['a symbol', Symbol('x')],
    ['a cycle', cycle],
    ['a bigint', 1n],
    ['undefined', undefined],
  ])('%s is refused by name', (_, state) => {
    expect(() => encodeState('save()', state)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining('"save()" must be a Uint8Array or a JSON value'),
      }),
    );
  });

  test.each([Buffer.of(), Buffer.of(2, 1), Buffer.from('\x01{')])('bytes of no known form: %s', (bytes) => {
    expect(() => decodeState(bytes)).toThrow(SyntaxError);
  });
});
