"""Studies: many trainings from one YAML file, and their comparison."""
