"""Charts of reports, written as SVG, PNG or PDF without a browser. One module a chart; only the command line calls."""
