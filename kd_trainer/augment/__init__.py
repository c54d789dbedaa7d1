"""Random views of jets: augmentations, and what they do to the inputs of a network."""
