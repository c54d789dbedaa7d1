"""Frozen teachers: from a network file and a checkpoint to the soft targets of a batch."""
