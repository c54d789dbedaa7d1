"""Distillation: losses, frozen teachers, and the functions handed to weaver."""
