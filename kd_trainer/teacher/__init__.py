"""Frozen teachers: a network file and a checkpoint give the soft targets of a batch."""
