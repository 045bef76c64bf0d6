"""Executors: this thread, a thread pool or a Dask cluster anneals the blocks."""
