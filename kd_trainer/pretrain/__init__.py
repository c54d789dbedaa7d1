"""Pre-training without labels: contrastive learning with jet augmentations."""
