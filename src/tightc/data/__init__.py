"""Images and samples: readers for the common file formats, normalization, and the validation split."""
