#!/usr/bin/env bash
# Installs what simulates and synthesizes SystemVerilog (iverilog, verilator and its compiler, yosys) from the packages of
# the system, where apt-get may do so. Without them, the tests that need them are skipped and say so.
set -u
missing=()
for tool in iverilog verilator g++ yosys; do command -v "$tool" > /dev/null || missing+=("$tool"); done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "not installed: ${missing[*]}; tests that need them are skipped" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
install=(timeout 300 apt-get install -y -q --no-install-recommends "${missing[@]}")
"${install[@]}" > /dev/null || { timeout 120 apt-get update -q > /dev/null && "${install[@]}" > /dev/null; } ||
  echo "could not be installed: ${missing[*]}; tests that need them are skipped" >&2
exit 0
