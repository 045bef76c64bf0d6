"""What `scripts/bench.py` measures: one file for each page of docs/benchmarks."""
