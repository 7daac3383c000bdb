#!/usr/bin/env bash
# Asks for known faults of everything that is built or run here, and says of each list what came of it: `make audit`.
# Exit status 0: all were asked, and none has one; 1: one has; 2: a list could not be asked, which proves nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

asked=0
found=0
unasked=0
# What says that the faults themselves could not be fetched, rather than that there is one.
UNREACHED='no such command|failed to fetch advisory|fetch advisory database|error fetching|Could not resolve|audit endpoint returned an error|ENOTFOUND|ECONNREFUSED'

ask() { # WHAT COMMAND…
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    printf '%-44s clean\n' "$what"
    asked=$((asked + 1))
  elif grep -qE "$UNREACHED" <<<"$said"; then
    printf '%-44s NOT ASKED: %s\n' "$what" "$(grep -oEm1 "($UNREACHED).*" <<<"$said" | cut -c 1-120)"
    unasked=$((unasked + 1))
  else
    printf '%-44s FOUND\n%s\n' "$what" "$said"
    found=$((found + 1))
  fi
}

in_folder() { # FOLDER COMMAND…
  cd "$1" && shift && "$@"
}

ask 'cargo deny advisories' cargo deny --log-level error check advisories
ask 'cargo deny advisories, fuzz' cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml --log-level error check advisories
ask 'cargo audit' cargo audit --quiet
for folder in web tests/browser; do
  ask "npm audit, $folder" in_folder "$folder" npm audit --audit-level=low
done

echo "asked $asked, with findings $found, not asked $unasked"
[ "$found" -eq 0 ] || exit 1
[ "$unasked" -eq 0 ] || exit 2
