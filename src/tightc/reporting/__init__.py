"""Views of a report: text, HTML and flat rows. They make text; only the command line prints it."""
