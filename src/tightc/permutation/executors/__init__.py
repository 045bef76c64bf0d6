"""Who anneals the blocks: this thread, a thread pool, a Dask cluster."""
