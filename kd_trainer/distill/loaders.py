"""Training loaders like weaver's for other files: those of a cache, and those without labels."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.data import DataLoader
from weaver.utils.dataset import DataConfig, SimpleIterDataset

from kd_trainer import configs
from kd_trainer.cache.cached_teacher import CachedTeacher, reads_cache
from kd_trainer.cache.origin import CONFIG
from kd_trainer.cache.paths import output_of
from kd_trainer.configs import has_teacher, without_teacher
from kd_trainer.errors import InputError
from kd_trainer.jet_files import named_files
from kd_trainer.weaver_hooks import Loader, files_of

Files = Mapping[str, list[str]]  # paths by group, "_" for none


def from_cache(loader: Loader, validation: Loader, args: argparse.Namespace, teacher: CachedTeacher) -> Loader:
    """The loader of the cache's files that replaces weaver's; files and data config are verified.

    Parameters
    ----------
    loader : DataLoader
        Weaver's training loader, not started yet. It is returned unchanged if its data config reads the cache.
    validation : DataLoader
        If it has no files of its own, it reads its part of the cache's files. The part of the original files may
        contain other jets, because a cache holds only the selected jets.

    Raises
    ------
    InputError
        If the cache lacks files, has another origin, or reads jets in another way than the data config.
    """
    if reads_cache(loader.dataset.config):
        teacher.check(loader.dataset.config.options, args.data_config)
        teacher.verify(files_of(loader))
        return loader
    options = configs.load(args.data_config)
    teacher.check(options, args.data_config)
    given, made = (one.get("selection") or None for one in (options, teacher.config.options))
    if given != made:  # the cache holds the jets of its own selection, and another one would have no effect
        raise InputError(f"the selection of {args.data_config} is {given}, that of the cache {teacher.folder} is "
                         f"{made}: run cache again with this config, or give --extra-selection-train")  # fmt: skip
    files, end = cached(loader.dataset._init_file_dict, teacher), 1.0
    if not args.data_val:
        if has_teacher(validation.dataset.config):
            raise InputError("without --data-val the validation uses a part of the cache, but it needs the teacher's "
                             "inputs, which a cache lacks: give --data-val, or train without the cache")  # fmt: skip
        validation.dataset._init_file_dict, end = files, args.train_val_split
        theirs = {**teacher.config.options, "selection": validation.dataset.config.selection, "observers": []}
        validation.dataset._data_config = without_teacher(DataConfig(print_info=False, **theirs))
    dataset = dataset_of(files, teacher.folder / CONFIG, args, name="train", end=end)
    return loader_of(dataset, args.batch_size, loader, args)


def cached(files: Files, teacher: CachedTeacher) -> dict[str, list[str]]:
    """The files of a cache for these input files, verified; InputError if one is missing."""
    made = {
        group: [str(output_of(path, "" if group == "_" else group, teacher.folder)) for path in paths]
        for group, paths in files.items()
    }
    inputs, outputs = ([path for paths in groups.values() for path in paths] for groups in (files, made))
    lacking = [path for path, output in zip(inputs, outputs) if not Path(output).is_file()]
    if lacking:
        raise InputError(f"the cache {teacher.folder} has no soft targets for {len(lacking)} of {len(inputs)} files, "
                         f"for example {lacking[0]}: run cache with all of them")  # fmt: skip
    teacher.verify(outputs, inputs)
    return made


def groups_of(files: Sequence[str], local_rank: int | None) -> dict[str, list[str]]:
    """{group: paths} of `[GROUP:]PATTERN`, each file once; with DDP only the files of this process, as in weaver.

    Raises
    ------
    InputError
        If a file is in two groups, or if a process gets no file of a group.
    """
    owners: dict[str, str] = {}
    for group, path in named_files(files):
        if owners.setdefault(path, group or "_") != (group or "_"):
            raise InputError(f"kd_unlabelled: {path} is in two groups, {owners[path]} and {group or '_'}")
    size = 1 if local_rank is None else int(os.environ["LOCAL_WORLD_SIZE"])
    groups: dict[str, list[str]] = {}
    for path, group in owners.items():
        groups.setdefault(group, []).append(path)
    for group, paths in groups.items():
        if len(paths) < size:
            raise InputError(f"kd_unlabelled: {len(paths)} files of {group} cannot be shared by {size} processes")
    return {group: paths[local_rank or 0 :: size] for group, paths in groups.items()}


def dataset_of(
    files: Files, config: str | Path, args: argparse.Namespace, name: str, end: float = 1.0
) -> SimpleIterDataset:
    """Weaver's dataset of training files, with the arguments of the training; `end`: fraction of each file to read."""
    if args.copy_inputs:
        raise InputError("--copy-inputs cannot be used with kd_cache or kd_unlabelled: copy the files beforehand")
    return SimpleIterDataset(
        dict(files),
        str(config),
        for_training=True,
        extra_selection=args.extra_selection_train,
        remake_weights=False,
        file_fraction=args.file_fraction,
        load_range_and_fraction=((0, end), args.data_fraction, args.data_split_num),
        fetch_by_files=args.fetch_by_files,
        fetch_step=args.fetch_step,
        infinity_mode=args.steps_per_epoch is not None,
        in_memory=args.in_memory,
        name=name,
    )


def loader_of(dataset: SimpleIterDataset, batch_size: int, like: Loader, args: argparse.Namespace) -> Loader:
    """A loader of batches from a dataset, with the settings of a loader of weaver."""
    dataset._sampler_options["batch_size"] = batch_size
    workers = min(args.num_workers, *map(len, dataset._init_file_dict.values()))  # each needs a file of every group
    return DataLoader(
        dataset,
        batch_size=batch_size,
        drop_last=True,
        pin_memory=like.pin_memory,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=like.prefetch_factor if workers else None,
    )
