"""The commands that README and docs show: read, run in a folder of their own, compared, and written again."""
