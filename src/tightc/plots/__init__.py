"""Charts of reports as SVG, PNG or PDF, without a browser: one module a chart, with bars and colors the page shares."""
