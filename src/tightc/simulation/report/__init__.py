"""Views of a simulation: glossary, SCALE-Sim export, cycle trace."""
