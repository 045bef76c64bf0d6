"""Images that a network is watched on: what flows through it, and how far its outputs move."""
