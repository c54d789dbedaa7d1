"""Distillation inside weaver's own loop: the loader is wrapped, the loop is not.

    weaver's loader --X{pf_*, teacher_pf_*}, y--> StudentView: teacher_* -> Teacher -> soft targets on the loss
                                                               X{pf_*}, y -> weaver's train_classification
"""

from types import SimpleNamespace

from weaver.utils.logger import _logger
from weaver.utils.nn.tools import evaluate_classification, train_classification

from kd_trainer.configs import PREFIX, student_view
from kd_trainer.errors import InputError
from kd_trainer.evaluate.monitor import epoch_metrics
from kd_trainer.files import inspect_all, needed_branches


class StudentView:
    """A weaver loader as the student sees it: without the teacher's inputs.

    Parameters
    ----------
    loader : DataLoader
        Of a paired or of the student's own data config.
    on_batch : callable X -> None
        Sees every batch in full before the student does.
    """

    def __init__(self, loader, on_batch=None):
        self.loader = loader
        self.on_batch = on_batch
        self.dataset = SimpleNamespace(config=student_view(loader.dataset.config))

    def __iter__(self):
        for X, y, Z in self.loader:
            if self.on_batch:
                self.on_batch(X)
            yield {k: v for k, v in X.items() if not k.startswith(PREFIX)}, y, Z


def train_fn(teacher, student_name, verify=None):
    """The training function for weaver: one epoch of weaver's own, with soft targets from the teacher.

    Parameters
    ----------
    teacher : callable (X, device) -> logits (N, K), or None
        None trains on labels alone, which the loss must have been told.
    student_name : str
        For the log.
    verify : callable of a list of paths, or None
        Looks at the training files before the first epoch, and raises if they are not what the teacher needs.
    """
    checked = []

    def train(model, loss_func, opt, scheduler, train_loader, dev, epoch, tb_helper=None, extra_args=None, **kwargs):
        if extra_args["args"].regression_mode:
            raise InputError("distillation is for classification: run weaver without --regression-mode")
        if not checked:
            check_files(train_loader, "training")
            if verify:
                verify(files_of(train_loader))
            _logger.info(introduction(model, loss_func, teacher, student_name), color="bold")
            checked.append(True)

        def lay_down_soft_targets(X):
            loss_func.soft_targets = teacher(X, dev)

        loss_func.start_epoch(epoch)
        view = StudentView(train_loader, lay_down_soft_targets if teacher else None)
        train_classification(
            model, loss_func, opt, scheduler, view, dev, epoch, tb_helper=tb_helper, extra_args=extra_args, **kwargs
        )
        means = loss_func.means()
        _logger.info("Epoch #%d distillation: %s", epoch, ", ".join(f"{k} {v:.5f}" for k, v in means.items()))
        if tb_helper:
            tb_helper.write_scalars([(f"KD/{name} (epoch)", value, epoch) for name, value in means.items()])

    return train


def evaluate_fn(names):
    """The evaluation function for weaver: its own, with the plain task loss and the student's inputs.

    Parameters
    ----------
    names : the classes; for many of them a few rejections replace weaver's metrics.
    """
    checked = []

    def evaluate(model, test_loader, dev, epoch, for_training=True, loss_func=None, tb_helper=None, **kwargs):
        if test_loader not in checked:
            check_files(test_loader, "validation" if for_training else "test")
            checked.append(test_loader)
        if loss_func is not None:
            loss_func.eval()
        metrics = epoch_metrics(names, for_training=for_training, epoch=epoch, tb_helper=tb_helper)
        return evaluate_classification(
            model, StudentView(test_loader), dev, epoch, for_training,
            loss_func=loss_func, tb_helper=tb_helper, **metrics, **kwargs,
        )  # fmt: skip

    return evaluate


def files_of(loader):
    """Paths of all files that a loader reads."""
    return [path for paths in loader.dataset._init_file_dict.values() for path in paths]


def check_files(loader, use):
    """Look into every input file of a loader: weaver would skip one that it cannot read, and go on.

    Raises
    ------
    InputError
        Naming the first files with trouble.
    """
    paths = files_of(loader)
    config = loader.dataset.config
    results = inspect_all(paths, needed_branches(config, training=use != "test"), config.treename)
    bad = [f"{path} {trouble}" for path, (_, trouble) in zip(paths, results) if trouble]
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        raise InputError(f"{len(bad)} of {len(paths)} {use} files cannot be used: {'; '.join(bad[:3])}{more}")


def introduction(model, loss_func, teacher, student_name):
    """The line of the log that says who teaches whom."""
    student = f"student {student_name} ({sum(p.numel() for p in model.parameters()):,} parameters)"
    if teacher is None:
        return f"No teacher (kd_alpha 0): {student} is trained on labels alone"
    return (
        f"Teacher {teacher.description} teaches {student}, "
        f"alpha {loss_func.alpha}, temperature {loss_func.temperature}"
    )
