"""Soft targets on disk: computed once, verified, read by many trainings."""
