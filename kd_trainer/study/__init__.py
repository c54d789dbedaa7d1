"""Studies: many trainings from one YAML, and what they say when compared with each other."""
