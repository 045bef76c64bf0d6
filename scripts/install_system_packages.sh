#!/usr/bin/env bash
# Installs what tests need beside Python, from the packages of the system, where apt-get may do so: what simulates and
# synthesizes SystemVerilog (iverilog, verilator and its compiler, yosys), the shells that complete file names (zsh,
# fish), and the browser that opens the report page (chromium). Without them, the tests that need them are skipped and
# say so.
set -u
missing=()
for tool in iverilog verilator g++ yosys zsh fish; do command -v "$tool" > /dev/null || missing+=("$tool"); done
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "not installed: ${missing[*]}; tests that need them are skipped" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
install=(timeout 300 apt-get install -y -q --no-install-recommends)
# one by one, so that a package which a system does not have costs no other its tests
for tool in "${missing[@]}"; do
  "${install[@]}" "$tool" > /dev/null ||
    { timeout 120 apt-get update -q > /dev/null && "${install[@]}" "$tool" > /dev/null; } ||
    echo "could not be installed: $tool; tests that need it are skipped" >&2
done
exit 0
