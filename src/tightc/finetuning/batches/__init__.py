"""Training images on the device: augmentation, batches, mixup."""
