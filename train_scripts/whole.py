"""For weaver's --custom-functions: the sampling weights that make_weight writes are whole or not there."""

from kd_trainer.weaver_hooks.whole import write_configs_whole

write_configs_whole()
