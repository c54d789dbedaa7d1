"""The columns of the two public benchmarks."""

import awkward as ak
import numpy as np
import pytest

from kd_trainer.datasets.layouts import identities, quark_gluon_jets, top_jets


@pytest.mark.parametrize("name", ["TopLandscape", "QuarkGluon"])
def test_same_as_the_public_conversion(shared, name):
    """All other columns of the public files follow from the four-momenta, in any order."""
    public = ak.from_parquet(shared / "real" / f"{name}_1000.parquet")
    momenta = {key: public[f"part_{key}"][:, ::-1] for key in ("px", "py", "pz", "energy")}
    made = top_jets(momenta, public.label)
    for field in public.fields:
        a, b = (ak.to_numpy(ak.flatten(x[field], axis=None)) for x in (made, public))
        # the mass is a small difference of large numbers, and the files hold single precision
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=0.1 if field == "jet_mass" else 2e-3, err_msg=field)


def test_quark_gluon_particles():
    pt, y, phi = [[1.0, 30.0]], [[0.5, -0.25]], [[-3.1, 3.1]]
    pid = [[11, -2212]]
    columns = {name: ak.Array(x) for name, x in {"pt": pt, "y": y, "phi": phi, "pid": pid}.items()}
    (jet,) = quark_gluon_jets(columns, [1])
    np.testing.assert_allclose(np.hypot(jet.part_px, jet.part_py), [30, 1], rtol=1e-6)
    np.testing.assert_allclose(np.arcsinh(jet.part_pz / np.hypot(jet.part_px, jet.part_py)), [-0.25, 0.5], rtol=1e-6)
    np.testing.assert_allclose(jet.part_energy**2, jet.part_px**2 + jet.part_py**2 + jet.part_pz**2, rtol=1e-6)
    assert jet.jet_eta < 0 and jet.part_deta[1] == pytest.approx(-(0.5 - jet.jet_eta), rel=1e-5)
    assert np.all(np.abs(jet.part_dphi) < 0.1)  # across the seam
    assert list(jet.part_charge) == [-1, -1] and list(jet.part_isElectron) == [0, 1] and jet.jet_nparticles == 2


def test_identities():
    pid = [211, -321, 2212, 130, -2112, 22, 11, -11, 13, -13]
    columns = identities(ak.Array([pid]))
    expected = {
        "isChargedHadron": [1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        "isNeutralHadron": [0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
        "isPhoton": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        "isElectron": [0, 0, 0, 0, 0, 0, 1, 1, 0, 0],
        "isMuon": [0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        "charge": [1, -1, 1, 0, 0, 0, -1, 1, -1, 1],
        "pid": pid,
    }
    for name, values in expected.items():
        assert columns[f"part_{name}"].to_list() == [values]
