"""Distillation: losses, the hook and the loader view, inside weaver's own loop."""
