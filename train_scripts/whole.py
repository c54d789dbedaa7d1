"""For weaver's --custom-functions in make_weight: weights are whole or not there, and of the classes that have jets."""

from kd_trainer.weaver_hooks.sampling import weigh_present_classes
from kd_trainer.weaver_hooks.whole import write_configs_whole

write_configs_whole()
weigh_present_classes()
