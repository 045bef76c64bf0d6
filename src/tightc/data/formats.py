"""The formats of image sources, in the words of help and errors; apart from the readers, which load numpy."""

FORMATS = (
    "a folder or .tar of class folders, a .npz with x and y or with the inputs by name, CIFAR-10 batches, "
    "MNIST IDX files, or package.module:function"
)
