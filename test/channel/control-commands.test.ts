// The table of control commands: the names and parameters that older and newer command lines send.
import { describe, expect, it } from 'vitest';
import { QUESTIONS } from '../../lib/process/questions.js';
import { CONTROL_COMMANDS, controlParams } from '../../lib/protocol/control-commands.js';
import type { Params } from '../../lib/protocol/rpc.js';

describe('the control commands', () => {
  it('are those that command lines of every version send', () => {
    expect(
      Object.entries({ ...CONTROL_COMMANDS, ...QUESTIONS }).map(([name, { params }]) =>
        [name, ...Object.keys(params)].join(' '),
      ),
    ).toEqual([
      'status',
      'plan',
      'upgrade ifChanged profile',
      'abort',
      'drain delay',
      'scale workers',
      'resume',
      'rollback',
    ]);
  });

  it('take what is left out as their defaults, and ignore what they do not know', () => {
    expect(controlParams('upgrade', { fromTheFuture: 1 })).toEqual({ ifChanged: false, profile: undefined });
    expect(controlParams('upgrade', { ifChanged: true, profile: '/tmp' })).toEqual({
      ifChanged: true,
      profile: '/tmp',
    });
    expect(controlParams('drain', {})).toEqual({ delay: 0 });
    expect(controlParams('status', { delay: 'soon' })).toEqual({});
  });

  it.each<[keyof typeof CONTROL_COMMANDS, Params, RegExp]>([
    ['scale', {}, /"workers" must be an integer from 1/],
    ['scale', { workers: 0 }, /"workers" must be an integer from 1/],
    ['drain', { delay: '5' }, /"delay" must be an integer from 0/],
    ['upgrade', { ifChanged: 'yes' }, /"ifChanged" must be a boolean/],
    ['upgrade', { profile: '' }, /"profile" must be a non-empty string/],
  ])('refuse: %s %j', (name, params, message) => {
    expect(() => controlParams(name, params)).toThrow(message);
  });
});
