"""The stream: the packed layers of a network as an entropy-coded memory image, docs/stream.md."""
