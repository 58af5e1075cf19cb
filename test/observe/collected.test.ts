// Events reach their subscribers whatever the garbage collector does.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { publish } from '../../lib/events.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const say = (name: string): void => publish('hook-failed', { name, error: new Error('of this test') });

test('a subscriber that came after a collection hears each of them (nodejs/node#59910)', async () => {
  say('before there is a subscriber');
  await turn();
  collect();
  const heard: string[] = [];
  const hear = (event: unknown): void => {
    heard.push((event as { name: string }).name);
  };
  subscribe('handover:hook-failed', hear);
  onTestFinished(() => {
    unsubscribe('handover:hook-failed', hear);
  });
  say('at once');
  // Finalizers run in a turn of their own.
  for (let i = 0; i < 10; i++) await turn();
  say('later');
  expect(heard).toEqual(['at once', 'later']);
});
