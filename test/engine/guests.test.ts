// Who has dialled a socket of this process: so many at a time, each so long without a word.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Guests } from '../../lib/platform/guests.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const guest = (name: string): { readonly name: string } => ({ name });

function guests(limit: number): { guests: Guests<{ readonly name: string }>; gone: string[] } {
  const gone: string[] = [];
  return { gone, guests: new Guests({ limit, timeout: 1_000, hangUp: ({ name }) => gone.push(name) }) };
}

it('an idle one is hung up on after its time, a busy one never, and its time begins anew when it is idle again', () => {
  const { guests: all, gone } = guests(3);
  const [idle, busy] = [guest('idle'), guest('busy')];
  all.admit(idle);
  all.admit(busy);
  all.busy(busy);
  vi.advanceTimersByTime(999);
  expect(gone).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(gone).toEqual(['idle']);
  vi.advanceTimersByTime(100_000);
  all.idle(busy);
  vi.advanceTimersByTime(999);
  expect(gone).toEqual(['idle']);
  vi.advanceTimersByTime(1);
  expect(gone).toEqual(['idle', 'busy']);
  expect([...all]).toEqual([]);
});

it('one too many takes the place of the one that has been idle longest', () => {
  const { guests: all, gone } = guests(2);
  const [first, second] = [guest('first'), guest('second')];
  all.admit(first);
  all.admit(second);
  all.busy(first);
  all.idle(first);
  expect(all.admit(guest('third'))).toBe(true);
  expect(gone).toEqual(['second']);
});

it('one too many is hung up on where all are busy, and is no guest', () => {
  const { guests: all, gone } = guests(1);
  const only = guest('only');
  all.admit(only);
  all.busy(only);
  const late = guest('late');
  expect(all.admit(late)).toBe(false);
  expect(gone).toEqual(['late']);
  all.busy(late);
  expect([...all]).toEqual([only]);
});

it('one that has left is not hung up on', () => {
  const { guests: all, gone } = guests(1);
  const only = guest('only');
  all.admit(only);
  expect([all.leave(only), all.leave(only)]).toEqual([true, false]);
  vi.advanceTimersByTime(10_000);
  expect([gone, all.admit(guest('next'))]).toEqual([[], true]);
});
