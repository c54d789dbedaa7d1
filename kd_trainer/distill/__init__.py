"""Distillation inside weaver's own training loop: losses, hooks and loaders."""
