"""Beside what setup.cfg says: a wheel holds networks/, data/ and train_scripts/, see kd_trainer/resources.py."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithFiles(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return  # of a clone, where they are
        resources = runpy.run_path(str(HERE / "kd_trainer" / "resources.py"))
        target = Path(self.build_lib) / "kd_trainer" / resources["IN_WHEEL"].name
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for path in resources["shipped"](HERE):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / path, target / path)


setup(cmdclass={"build_py": BuildWithFiles})
