"""The line of a report on firmware."""

import json

import pytest

from kd_trainer.errors import InputError
from kd_trainer.evaluate.firmware import sentences


def test_line_and_faults(tmp_path):
    path = tmp_path / "firmware.json"
    report = {"cost": 23456.7, "register_bits": 1200, "stages": 12, "clock_ns": 2.5, "latency_ns": 30.0,
              "simulation": {"jets": 100}, "synthesis": {"luts": 30000, "tool": "Yosys 0.23"},
              "twin": None}  # fmt: skip
    path.write_text(json.dumps(report))
    assert sentences([f"PFN={path}"]) == [
        "Firmware of PFN: about 23,457 LUTs by alkaid (30,000 LUTs in Yosys 0.23), 1,200 register bits, 12 stages of "
        "2.5 ns, 30 ns; simulated bit by bit on 100 jets."
    ]
    path.write_text(json.dumps(report | {"simulation": None, "synthesis": None}))
    assert sentences([f"PFN={path}"])[0].endswith("; not simulated.")
    accuracies = {"fixed": 0.5, "floating": 0.51}
    models = {name: {"accuracy": {"value": x, "statistical": 0.004}} for name, x in accuracies.items()}
    path.write_text(json.dumps(report | {"twin": {"models": models}}))
    text = "30 ns; accuracy in fixed 0.5000 ± 0.0040; accuracy in floating 0.5100 ± 0.0040; simulated bit by bit"
    assert text in sentences([f"PFN={path}"])[0]
    path.write_text("{}")
    for argument, text in (("x", "is not NAME=firmware.json"), (f"a={tmp_path}/no", "is not there"),
                           (f"a={path}", "is not the firmware.json of kd_trainer firmware")):  # fmt: skip
        with pytest.raises(InputError, match=text):
            sentences([argument])
