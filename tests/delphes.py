"""Events of Delphes made by hand, as the reader of `kd_trainer.datasets.delphes` yields them."""

import awkward as ak
import numpy as np
import uproot

PARTICLES = (40, 25, 0, 3, 12)  # candidates of each event
JETS = ((30, 8), (20,), (), (2, 1), (0, 12))  # how many of them each jet has


def events(seed=1):
    """Five events with seven jets, one of them without constituents; the first candidate of all has no pT."""
    rng = np.random.default_rng(seed)
    total = sum(PARTICLES)
    pid = rng.choice([211, -211, 22, 0, 11, -13], total)
    charged = (pid != 22) & (pid != 0)
    lists = {
        "PT": rng.exponential(20, total) + 0.3,
        "Eta": 0.3 * rng.normal(size=total) - 0.5,
        "Phi": 3 + 0.3 * rng.normal(size=total),
        "Mass": np.where(abs(pid) == 211, 0.13957, 0),
        "CtgTheta": rng.normal(size=total),
        "PID": pid,
        "Charge": charged * np.sign(pid) * np.where(abs(pid) == 211, 1, -1),
        "D0": charged * rng.normal(0, 0.1, total),
        "ErrorD0": charged * rng.exponential(0.02, total),
        "DZ": charged * rng.normal(30, 0.1, total),
        "ErrorDZ": charged * rng.exponential(0.03, total),
        "fUniqueID": 100 + np.arange(total),
    }
    lists["PT"][0] = 0
    lists["Phi"] = np.where(lists["Phi"] > np.pi, lists["Phi"] - 2 * np.pi, lists["Phi"])
    types = {"PID": np.int32, "Charge": np.int32, "fUniqueID": np.uint32}
    columns = {
        f"cand_{name}": ak.unflatten(values.astype(types.get(name, np.float32)), PARTICLES)
        for name, values in lists.items()
    }
    number = [len(jets) for jets in JETS]
    flat = [count for jets in JETS for count in jets]
    jet = {"PT": rng.uniform(200, 900, len(flat)), "Eta": rng.uniform(-1, 1, len(flat)),
           "Phi": rng.uniform(-np.pi, np.pi, len(flat)), "Mass": rng.uniform(5, 90, len(flat))}  # fmt: skip
    jet |= {"Tau[5]": rng.uniform(0.01, 0.3, (len(flat), 5))}
    columns |= {f"jet_{name}": ak.unflatten(x.astype(np.float32), number) for name, x in jet.items()}
    momentum = ak.zip({name: rng.uniform(1, 9, (len(flat), 5)) for name in ("fX", "fY", "fZ")})
    groomed = ak.zip({"fP": momentum, "fE": np.full((len(flat), 5), 50.0)})
    columns["jet_SoftDroppedP4[5]"] = ak.unflatten(groomed, number)
    members = [list(range(count))[::-1] for count in flat]
    columns["jet_Constituents"] = ak.unflatten(ak.values_astype(ak.Array(members), np.int64), number)
    columns["vertex_z"] = ak.Array([[30.0, 1.0], [29.9], [], [30.1], [30.0]])
    columns["event_number"] = np.arange(10, 15)
    return ak.zip(columns, depth_limit=1)


def write(path, entries=1, **branches):
    """A file with a tree Delphes that holds only numbers, for tests that do not read jets."""
    with uproot.recreate(path) as file:
        file.mktree("Delphes", {"Event_size": "int32", **dict.fromkeys(branches, "int32")})
        if entries:
            file["Delphes"].extend({name: np.zeros(entries, np.int32) for name in ("Event_size", *branches)})
