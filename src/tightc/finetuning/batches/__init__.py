"""Training images on the device, augmented and cut into batches."""
