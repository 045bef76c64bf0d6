"""What `scripts/bench.py` measures: one file for each section of docs/benchmarks.md."""
