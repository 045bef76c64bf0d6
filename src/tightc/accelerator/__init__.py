"""The accelerator: arrays, buffers, DRAM, clock and energy table."""
