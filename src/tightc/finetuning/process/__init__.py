"""What a training process needs around the loop: device, process group, checkpoint, interrupt, metrics."""
