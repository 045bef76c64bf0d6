"""The cycle engine: values move through processing elements, cycle by cycle."""
