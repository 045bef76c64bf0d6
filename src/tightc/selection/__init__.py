"""Selection: which weights to keep, given what each is worth."""
