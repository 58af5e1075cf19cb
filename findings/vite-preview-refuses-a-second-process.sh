#!/usr/bin/env bash
# vite preview (8.4.0) refuses to start while another one of the same project runs, also at another port.
#
# It looks through locks of the project for a living process and ends with exit code 1, before it looks at the port. Whatever
# starts a new process before it ends the old one (a rolling restart, a blue-green switch, a supervisor with overlap) fails with it,
# unless `--bypass-lock` is given. Seen with vite 8.4.0 on Node 20.20.2: "Found another Vite preview process for this project".
#
# Exit status: 0 as described, 1 it behaves otherwise, 77 it cannot run here.
set -eu
command -v npm >/dev/null && command -v node >/dev/null || exit 77
folder=$(mktemp -d)
first=
trap '[ -z "$first" ] || kill "$first" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-package-lock --ignore-scripts --no-audit --no-fund vite@8.4.0
mkdir dist && echo '<!doctype html><title>built</title>' >dist/index.html
echo '{"name":"project","private":true}' >package.json
vite=node_modules/vite/bin/vite.js

node "$vite" preview --port 41731 --strictPort --host 127.0.0.1 >first.log 2>&1 &
first=$!
for _ in $(seq 150); do
  grep -q 'Local:' first.log && break
  kill -0 "$first"
  sleep 0.1
done
grep -q 'Local:' first.log

status=0
timeout 20 node "$vite" preview --port 41732 --strictPort --host 127.0.0.1 >second.log 2>&1 || status=$?
echo "a second vite preview at another port: exit status $status"
grep -o 'Found another Vite preview process for this project' second.log || true
[ "$status" = 1 ] && grep -q 'bypass-lock' second.log
