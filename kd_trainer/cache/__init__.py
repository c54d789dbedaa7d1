"""Soft targets on disk: computed once, verified, and read by many trainings."""
