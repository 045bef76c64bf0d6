"""Passes, cycles, memory traffic, events and energy of a layer, in closed form."""
