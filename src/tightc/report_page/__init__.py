"""The report page: one HTML file on a run, or on one or two models."""
