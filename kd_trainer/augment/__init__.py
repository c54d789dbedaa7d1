"""Random views of jets: augmentations and their effect on the inputs of a network."""
