"""weaver-kd: knowledge distillation for jet taggers inside weaver."""
