"""Pictures of the accelerator: its blocks, one processing element, and two tiles of a real simulation."""
