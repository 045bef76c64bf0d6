"""The training process: device, process group, checkpoint and interrupt."""
