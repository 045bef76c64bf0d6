"""A small detector: its scenes, its network, its training, and what its detections are worth."""
