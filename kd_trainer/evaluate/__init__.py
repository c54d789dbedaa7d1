"""Figures of merit, reports, and complexity of taggers."""
