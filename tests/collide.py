"""Events in the public layout of COLLIDE-2V, without physics: jets in two views, pile-up jets in one of them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CANDIDATES, JETS = "PUPPIPart", ("JetPuppiAK4", "JetPuppiAK8", "JetAK4", "JetAK8")
HALF = ("PT", "ET", "Eta", "Phi", "Mass", "E", "MET", "PuppiW")
TYPES = {
    **dict.fromkeys(HALF, pa.float16()),
    **dict.fromkeys(("Charge", "IsPU", "BTag", "BTagPhys", "Status"), pa.int8()),
    **dict.fromkeys(("PID", "Flavor"), pa.int32()),
    "fUniqueID": pa.uint32(),
}
KINDS = np.array([(211, 1, 0.14), (-211, -1, 0.14), (22, 0, 0), (0, 0, 0.5), (11, -1, 0), (-13, 1, 0.106)])


def collection(rng, jets, extra=3, height=0.0):
    """Jets (J, 4: pt, eta, phi, flavour) and their particles, in a random order, with some of no jet."""
    rows = []
    for j, (pt, eta, phi, _) in enumerate(jets):
        n = rng.integers(3, 9)
        shares = rng.dirichlet(np.full(n, 2.0)) * pt
        for share, kind in zip(shares, KINDS[rng.integers(0, len(KINDS), n)]):
            rows.append((share, eta + rng.normal(0, 0.05), phi + rng.normal(0, 0.05), *kind, j))
    for kind in KINDS[rng.integers(0, len(KINDS), extra)]:
        rows.append((0.5, rng.uniform(-3, 3), rng.uniform(-3, 3), *kind, -1))
    part = np.array(rows or np.zeros((0, 7)))
    part = part[np.argsort(-part[:, 0], kind="stable")]
    pt, eta, phi, pid, charge, mass, owner = part.T
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    total = np.array([[x[owner == j].sum() for x in (px, py, pz, energy)] for j in range(len(jets))]).reshape(-1, 4)
    jet_pt = np.hypot(total[:, 0], total[:, 1])
    mass2 = total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1)
    particles = {
        "PT": pt, "Eta": eta, "Phi": phi, "E": energy, "Charge": charge, "Mass": mass, "PID": pid,
        "D0": rng.normal(0, 0.1, len(pt)), "DZ": height + rng.normal(0, 0.1, len(pt)), "ErrorD0": 0 * pt,
        "ErrorDZ": 0 * pt, "fUniqueID": 1000 + np.arange(len(pt)), "PuppiW": np.where(charge == 0, 0.75, 1),
        "IsPU": 0 * pt,
    }  # fmt: skip
    order = np.argsort(-jet_pt, kind="stable")
    found = {
        "PT": jet_pt, "Eta": np.arcsinh(total[:, 2] / jet_pt), "Phi": np.arctan2(total[:, 1], total[:, 0]),
        "Mass": np.sqrt(np.maximum(mass2, 0)), "Flavor": np.array([jet[3] for jet in jets]),
    }  # fmt: skip
    found = {name: values[order] for name, values in found.items()}
    found["ConstituentsIdx"] = [[*np.flatnonzero(owner == j), -1] for j in order]
    return particles, found


def event(rng, flavours=(5, 4, 1, 21)):
    """Columns of an event: four jets in both views, of different candidates; one in Level-1 alone, two offline."""
    number = len(flavours) + 2
    place = rng.permutation(number)
    eta, phi = -2 + 4 * place / number, rng.uniform(-np.pi, np.pi, number)  # far from each other in eta
    true = [(rng.uniform(30, 200), eta[i], phi[i], f) for i, f in enumerate(flavours)]
    shifted = [(pt * rng.uniform(0.8, 1.2), e + 0.02, p - 0.03, 0) for pt, e, p, _ in true]
    height = rng.normal(0, 50)
    columns = {}
    views = {"FullReco": [*true, (20, 4.0, 0, 0), (20, -4.0, 0, 0)], "L1T": [*shifted, (20, 3.0, 1, 0)]}
    for view, jets in views.items():
        particles, found = collection(rng, jets, height=height)
        columns |= {f"{view}_{CANDIDATES}_{name}": values for name, values in particles.items()}
        columns |= {f"{view}_{jet}_{name}": values for jet in JETS for name, values in found.items()}
        columns[f"{view}_PUPPIMET_MET"] = np.array([20.0])
    particles, found = collection(rng, true[:-1])  # one has no generated jet
    particles["Status"] = np.ones(len(particles["PT"]))
    axis = {"PT": 50, "Eta": true[0][1], "Phi": true[0][2]}
    for other in ({"Status": 2, "PID": 5}, {"IsPU": 1, "Status": 1}, {"PID": -14, "Status": 1}):  # in no generated jet
        particles = {name: np.append(values, (axis | other).get(name, 0)) for name, values in particles.items()}
    columns |= {f"Gen_Part_{name}": particles[name] for name in ("PT", "Eta", "Phi", "Mass", "PID", "Status", "IsPU")}
    for jet in ("JetAK4", "JetAK8"):
        columns |= {f"Gen_{jet}_{name}": found[name] for name in ("PT", "Eta", "Phi", "Mass")}
    return columns


def make_table(events):
    """Arrow table of events, dicts of arrays, in the public types."""
    arrays = {}
    for name in events[0]:
        variable = name.rpartition("_")[2]
        if variable == "ConstituentsIdx":
            lists = [[np.asarray(jet, np.int16) for jet in event[name]] for event in events]
            arrays[name] = pa.array(lists, pa.list_(pa.list_(pa.int16())))
            continue
        kind = TYPES.get(variable, pa.float32())
        values = [np.asarray(event[name]).astype(kind.to_pandas_dtype()) for event in events]
        offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])])
        arrays[name] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(values), kind))
    return pa.table(arrays)


def write(path, number=30, seed=1, change=lambda events: None, **options):
    """A file of events; `change` them before. Returns its table."""
    rng = np.random.default_rng(seed)
    events = [event(rng, **options) for _ in range(number)]
    change(events)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = make_table(events)
    pq.write_table(table, path, compression="zstd", row_group_size=max(number // 2, 1))
    return table
