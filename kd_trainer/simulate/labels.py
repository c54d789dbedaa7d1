"""The 188 labels of JetClass-II (arXiv 2405.12972): their names in order, and the label of a set of decay products."""

import re
from collections import Counter
from collections.abc import Iterable

TOKEN = re.compile(r"tau[hem]|.")
CAP = 2  # three or more b, c or s quarks in a QCD jet count as two

# the decay products in the jet: one letter or tau per product; q is u or d, m a muon, v a neutrino
TWO_PRONGS = """bb cc ss qq bc cs bq cq sq gg ee mm tauhtaue tauhtaum tauhtauh"""
MORE_PRONGS = """
bbbb bbcc bbss bbqq bbgg bbee bbmm bbtauhtaue bbtauhtaum bbtauhtauh bbb bbc bbs bbq bbg bbe bbm
cccc ccss ccqq ccgg ccee ccmm cctauhtaue cctauhtaum cctauhtauh ccb ccc ccs ccq ccg cce ccm
ssss ssqq ssgg ssee ssmm sstauhtaue sstauhtaum sstauhtauh ssb ssc sss ssq ssg sse ssm
qqqq qqgg qqee qqmm qqtauhtaue qqtauhtaum qqtauhtauh qqb qqc qqs qqq qqg qqe qqm
gggg ggee ggmm ggtauhtaue ggtauhtaum ggtauhtauh ggb ggc ggs ggq ggg gge ggm
bee cee see qee gee bmm cmm smm qmm gmm btauhtaue ctauhtaue stauhtaue qtauhtaue gtauhtaue
btauhtaum ctauhtaum stauhtaum qtauhtaum gtauhtaum btauhtauh ctauhtauh stauhtauh qtauhtauh gtauhtauh
qqqb qqqc qqqs bbcq ccbs ccbq ccsq sscq qqbc qqbs qqcs bcsq bcs bcq bsq csq
bcev csev bqev cqev sqev qqev bcmv csmv bqmv cqmv sqmv qqmv bctauev cstauev bqtauev cqtauev sqtauev qqtauev
bctaumv cstaumv bqtaumv cqtaumv sqtaumv qqtaumv bctauhv cstauhv bqtauhv cqtauhv sqtauhv qqtauhv
"""
QCD = [2 * "b", "b", ""], [2 * "c", "c", ""], [2 * "s", "s", ""]
NAMES = (
    *(f"X_{name}" for name in TWO_PRONGS.split()),
    *(f"X_YY_{name}" for name in MORE_PRONGS.split()),
    *(f"QCD_{b + c + s or 'light'}" for b in QCD[0] for c in QCD[1] for s in QCD[2]),
)
_PRONGS = {
    (origin, tuple(sorted(TOKEN.findall(prongs)))): label
    for label, (origin, _, prongs) in enumerate(name.rpartition("_") for name in NAMES)
}


def resonance_label(origin: str, prongs: Iterable[str]) -> int:
    """The label of the decay products that are in a jet.

    Parameters
    ----------
    origin : X or X_YY
    prongs : sequence of str
        One of b, c, s, q, g, e, m, tauh, taue, taum or v for each product, in any order.

    Raises
    ------
    ValueError
        If the dataset has no label for them.
    """
    key = origin, tuple(sorted(prongs))
    if key not in _PRONGS:
        raise ValueError(f"JetClass-II has no label for {origin}_{''.join(key[1])}")
    return _PRONGS[key]


def qcd_label(flavours: Iterable[str]) -> int:
    """The label of a QCD jet from the flavours b, c, s and q of its quarks; at most two of each flavour count."""
    number = Counter(flavours)
    name = "".join(flavour * min(number[flavour], CAP) for flavour in "bcs")
    return NAMES.index(f"QCD_{name or 'light'}")
