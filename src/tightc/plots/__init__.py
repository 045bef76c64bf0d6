"""Charts of reports, written as SVG, PNG or PDF without a browser. One module a chart; the report page shares
their bars and colors."""
