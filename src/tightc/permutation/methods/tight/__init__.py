"""Tight packing: single weights rearranged into full tiles by simulated annealing; lossless."""
