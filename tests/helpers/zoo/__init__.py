"""Small networks of the families that people have, exported by torch."""
