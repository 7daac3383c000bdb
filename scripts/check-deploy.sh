#!/usr/bin/env bash
# Checks what lies under deploy/ as far as no engine and no cluster are needed: manifests against Kubernetes' own schemas, the
# compose file against its specification, the Dockerfile by hadolint. What a check lets through that it should refuse fails as
# well. Usage: scripts/check-deploy.sh FOLDER, where its tools are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${1:?a folder for the tools}
# The oldest release whose objects are used here, and one that is new.
releases=(1.25.0 1.37.0)

if ! cmp -s scripts/check-deploy.txt "$tools/installed.txt"; then
  echo "check-deploy: installing the tools of scripts/check-deploy.txt" >&2
  rm -rf "$tools"
  python3 -m venv "$tools"
  if ! "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/check-deploy.txt; then
    rm -rf "$tools"
    echo "check-deploy: NOT CHECKED, since PyPI could not be reached; CHECK_DEPLOY=required makes this an error" >&2
    [ "${CHECK_DEPLOY:-}" = required ] && exit 1
    exit 0
  fi
  cp scripts/check-deploy.txt "$tools/installed.txt"
fi

manifests() { # FILE…
  for release in "${releases[@]}"; do
    "$tools/bin/kubernetes-validate" --strict --quiet -k "$release" "$@" || return 1
  done
}

compose() { # FILE
  "$tools/bin/python" - "$1" <<'PYTHON'
import sys, compose_spec
options = compose_spec.PyOptions()
options.apply_merge = True
with open(sys.argv[1]) as file:
    options.from_yaml(file.read()).validate()
PYTHON
}

image() { # FILE
  "$tools/bin/hadolint" --no-color "$1"
}

# A check of a file that is spoilt by a line of sed must fail.
refuses() { # CHECK FILE SED
  local spoilt
  spoilt=$(mktemp)
  sed "$3" "$2" >"$spoilt"
  if cmp -s "$2" "$spoilt" || "$1" "$spoilt" >/dev/null 2>&1; then
    rm -f "$spoilt"
    echo "check-deploy: $2 with '$3' is not refused" >&2
    exit 1
  fi
  rm -f "$spoilt"
}

manifests deploy/kubernetes/*.yaml
compose deploy/compose/compose.yaml
image deploy/container/Dockerfile
refuses manifests deploy/kubernetes/edge.yaml 's/terminationGracePeriodSeconds/terminationGraceSeconds/'
refuses compose deploy/compose/compose.yaml 's/read_only/read_onli/'
refuses image deploy/container/Dockerfile 's/^ENTRYPOINT .*/ENTRYPOINT aqueduct/'
