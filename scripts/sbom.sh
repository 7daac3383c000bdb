#!/usr/bin/env bash
# Lists what the program is made of, as CycloneDX: `make sbom`. The crates by cargo-cyclonedx, the packages that the pages are made
# of and with by npm itself; what comes with the system (FFmpeg's libraries) is its distribution's to list.
# Usage: scripts/sbom.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
# npm 9, which Debian 12 carries, has no such command.
npm sbom --help >/dev/null 2>&1 || { echo "sbom: npm $(npm --version) cannot list packages; npm 10 can: npm install --global npm@10" >&2; exit 1; }
mkdir -p "$out"

# It writes a list beside each manifest of the workspace; the program's is the one that counts.
cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename aqueduct-sbom --manifest-path app/Cargo.toml
mv app/aqueduct-sbom.json "$out/aqueduct.cdx.json"
rm -f ./*/aqueduct-sbom.json
(cd web && npm sbom --sbom-format cyclonedx) >"$out/web.cdx.json"

for file in "$out"/*.cdx.json; do
  node -e 'const bom = JSON.parse(require("fs").readFileSync(process.argv[1]));
    console.log(`${process.argv[1]}  ${bom.bomFormat} ${bom.specVersion}, ${(bom.components ?? []).length} components`)' "$file"
done
