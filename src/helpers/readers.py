"""Radiologists' calls: checked when they are real, simulated from published marginals when not.

The readers' tables of the thigh paper are not public. What it prints about the three readers is
their accuracies, their mean sensitivity and Fleiss' kappa; a simulation that honours these
numbers shows what the comparison looks like. It says nothing about how well radiologists read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa

from helpers import accuracy, claims, inference, multireader, paired, paths
from helpers.accuracy import Counts
from helpers.inference import Interval

#: Accuracies of the three readers, their mean sensitivity and kappa (Yang 2021, Results, Abstract).
PUBLISHED_ACCURACY = (0.80, 0.84, 0.84)
PUBLISHED_SENSITIVITY = 0.79
PUBLISHED_KAPPA = 0.628

#: Images with and without dystrophinopathy in the published test set (Table 2).
PUBLISHED_POSITIVES, PUBLISHED_CONTROLS = 228, 420
_PREVALENCE = PUBLISHED_POSITIVES / (PUBLISHED_POSITIVES + PUBLISHED_CONTROLS)

#: How alike a simulated reader finds the images of one person. An assumption: the paper reports
#: neither cases nor a design effect, and nothing in it says how far from 0 or 1 this is.
WITHIN_CASE = 0.5

#: What every simulated reader's name begins with.
SIMULATED = "simulated reader"

#: One row a reader and leg image.
SCHEMA = pandera.DataFrameSchema(
    {
        "reader_id": pandera.Column(str, nullable=False),
        "image_id": pandera.Column(str, nullable=False),
        "call": pandera.Column(str, pandera.Check.isin(["0", "1"]), nullable=False),
    },
    coerce=True,
)

_KAPPA_WORDS = ((0.20, "slight"), (0.40, "fair"), (0.60, "moderate"), (0.80, "substantial"))


class InvalidReads(ValueError):
    """The file of reads cannot be used; the message lists every problem."""


@dataclass(frozen=True)
class ReaderModel:
    """Three readers who find the same images difficult.

    Attributes
    ----------
    sensitivity, specificity : tuple of float
        One of each for a reader.
    correlation : float
        Correlation of two readers' latent impressions of an image, given its diagnosis.
    within_case : float
        Correlation of one reader's latent impressions of two images of one person, given the
        diagnosis; :data:`WITHIN_CASE`, an assumption, when not given. It moves neither
        accuracies nor kappa, only how much a person's images go wrong together.
    """

    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]
    correlation: float
    within_case: float = WITHIN_CASE


def load(path: str | Path, image_ids: Iterable[str]) -> pd.DataFrame:
    """Read and check the calls of real readers.

    Parameters
    ----------
    path : str or Path
        A ``reads.csv`` with reader_id, image_id and call (0 or 1); absolute, or from the
        repository's top folder.
    image_ids : iterable of str
        Every image that each reader must have called.

    Returns
    -------
    DataFrame
        As :func:`checked` returns it.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    InvalidReads
        Listing all problems.
    """
    path = paths.root() / Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"No file {path} (parameter reads_csv). Give the path of your reads.csv, or leave "
            "it empty to simulate readers from the published figures."
        )
    try:
        reads = pd.read_csv(path, dtype=str)
    except ValueError as error:  # pandas' errors of parsing, and those of the encoding
        raise InvalidReads(f"{path.name} is not a table in CSV, UTF-8: {error}") from error
    return checked(reads, image_ids, name=path.name)


def checked(
    reads: pd.DataFrame, image_ids: Iterable[str], *, name: str = "reads.csv"
) -> pd.DataFrame:
    """Return valid reads sorted by reader and image, or list all their problems.

    Parameters
    ----------
    reads : DataFrame
        Columns reader_id, image_id, call.
    image_ids : iterable of str
        Every image that each reader must have called.
    name : str
        Name of the file, for the message.

    Returns
    -------
    DataFrame
        reader_id, image_id, call (int).

    Raises
    ------
    InvalidReads
        Missing columns, calls other than 0 and 1, unknown images, images called twice or not
        at all by a reader.

    Examples
    --------
    >>> reads = pd.DataFrame({"reader_id": ["A", "A"], "image_id": ["x", "q"], "call": ["1", "2"]})
    >>> checked(reads, ["x", "y"])
    Traceback (most recent call last):
    helpers.readers.InvalidReads: reads.csv cannot be used (3 problems):
      - call: 1 row holds 2; expected 0 or 1
      - 1 image unknown to this cohort's test split, e.g. q
      - reader A: 1 of 2 images not called, e.g. y
    Correct the file and run the notebook again.
    """
    problems = _schema_problems(reads)
    if set(SCHEMA.columns) <= set(reads.columns):
        problems += _matching_problems(reads, sorted(set(image_ids)))
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        plural = "s" if len(problems) > 1 else ""
        raise InvalidReads(
            f"{name} cannot be used ({len(problems)} problem{plural}):\n{listing}\n"
            "Correct the file and run the notebook again."
        )
    valid = SCHEMA.validate(reads)[list(SCHEMA.columns)].astype({"call": int})
    return valid.sort_values(["reader_id", "image_id"], ignore_index=True)


def add_calls(images: pd.DataFrame, reads: pd.DataFrame) -> pd.DataFrame:
    """Put each reader's calls beside the images.

    Parameters
    ----------
    images : DataFrame
        One row an image, with image_id.
    reads : DataFrame
        Checked reads.

    Returns
    -------
    DataFrame
        ``images`` with one more column for each reader.
    """
    wide = reads.pivot(index="image_id", columns="reader_id", values="call")
    return images.merge(wide, left_on="image_id", right_index=True, validate="1:1")


def fleiss_kappa(calls: ArrayLike) -> float:
    r"""Fleiss' kappa: agreement of several readers beyond chance.

    :math:`\kappa = (\bar P - \bar P_e)/(1-\bar P_e)` with :math:`\bar P` the mean share of
    agreeing pairs of readers and :math:`\bar P_e` the sum of squared shares of the two calls.
    Computed by statsmodels.

    Parameters
    ----------
    calls : array-like of 0 and 1, shape (images, readers)
        Every reader has called every image; two readers at least.

    Returns
    -------
    float
        NaN when all calls are the same, as chance agreement is then complete.

    References
    ----------
    Fleiss JL. Psychological Bulletin 1971;76:378-382, doi 10.1037/h0031619.

    Examples
    --------
    >>> fleiss_kappa([[1, 1, 1], [0, 0, 0], [1, 1, 1]])
    1.0
    """
    calls = _call_matrix(calls)
    if np.unique(calls).size < 2:
        return float("nan")
    table, _ = aggregate_raters(calls, n_cat=2)
    return float(statsmodels_fleiss_kappa(table, method="fleiss"))


def kappa_by_case(
    calls: ArrayLike,
    case: ArrayLike,
    *,
    replicates: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Interval:
    """Fleiss' kappa with the percentile interval of resampled cases.

    Parameters
    ----------
    calls : array-like of 0 and 1, shape (images, readers)
        Every reader has called every image.
    case : array-like, shape (images,)
        The person each image belongs to.
    replicates, seed, level
        As in :func:`helpers.inference.by_case`.

    Returns
    -------
    Interval
        NaN when all calls are the same.
    """
    calls = _call_matrix(calls)
    weights = inference.case_weights(case, replicates=replicates, seed=seed)
    readers, positive = calls.shape[1], calls.sum(axis=1)
    agreeing = positive * (positive - 1) + (readers - positive) * (readers - positive - 1)
    codes = pd.factorize(np.asarray(case), sort=True)[0]
    summed = [
        np.bincount(codes, weights=part) for part in (agreeing, positive, np.ones(len(codes)))
    ]
    pairs, ones, images = (weights @ part for part in summed)
    observed = pairs / (images * readers * (readers - 1))
    rate = ones / (images * readers)
    chance = rate**2 + (1 - rate) ** 2
    values = np.divide(
        observed - chance, 1 - chance, out=np.full(rate.shape, np.nan), where=chance < 1
    )
    return inference.percentiles(values, cases=weights.shape[1], level=level)


def kappa_word(kappa: float) -> str:
    """Name an agreement as the paper's Methods do, after Landis and Koch.

    Parameters
    ----------
    kappa : float
        Fleiss' kappa.

    Returns
    -------
    str
        One of no, slight, fair, moderate, substantial, nearly perfect; undefined for NaN.

    References
    ----------
    Landis JR, Koch GG. Biometrics 1977;33:159-174, doi 10.2307/2529310.

    Examples
    --------
    >>> kappa_word(0.628), kappa_word(-0.1), kappa_word(0.81)
    ('substantial', 'no', 'nearly perfect')
    """
    if np.isnan(kappa):
        return "undefined"
    if kappa < 0:
        return "no"
    return next((word for limit, word in _KAPPA_WORDS if kappa <= limit), "nearly perfect")


def derived_specificity(
    share_right: float,
    *,
    sensitivity: float = PUBLISHED_SENSITIVITY,
    positives: int = PUBLISHED_POSITIVES,
    controls: int = PUBLISHED_CONTROLS,
) -> float:
    r"""Specificity that follows from an accuracy and a sensitivity.

    :math:`Sp = \left(A\,(n_+ + n_-) - Se\,n_+\right)/n_-`.

    Parameters
    ----------
    share_right, sensitivity : float
        Accuracy and sensitivity of one reader, on the same images.
    positives, controls : int
        Images of each kind.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(derived_specificity(a), 4) for a in PUBLISHED_ACCURACY]
    [0.8054, 0.8671, 0.8671]
    """
    return (share_right * (positives + controls) - sensitivity * positives) / controls


def independent_kappa() -> float:
    """Kappa of readers with the published accuracies who err independently of each other.

    Returns
    -------
    float

    Examples
    --------
    >>> round(independent_kappa(), 2)
    0.39
    """
    return expected_kappa(_with_correlation(0.0), prevalence=_PREVALENCE)


def published_model() -> ReaderModel:
    """Three simulated readers with the published accuracies, mean sensitivity and kappa.

    Assumptions beyond the paper: all three have the mean sensitivity, as single values are not
    printed; an image's difficulty is normally distributed and the same for all readers; images
    of one person are alike in difficulty as far as :data:`WITHIN_CASE` says.

    Returns
    -------
    ReaderModel
        Its correlation makes :func:`expected_kappa` 0.628 at the published prevalence.

    Examples
    --------
    >>> model = published_model()
    >>> prevalence = PUBLISHED_POSITIVES / (PUBLISHED_POSITIVES + PUBLISHED_CONTROLS)
    >>> round(expected_kappa(model, prevalence=prevalence), 3)
    0.628
    """

    def excess(correlation: float) -> float:
        model = _with_correlation(correlation)
        return expected_kappa(model, prevalence=_PREVALENCE) - PUBLISHED_KAPPA

    return _with_correlation(optimize.brentq(excess, 0.0, 0.99))


def published_measures() -> pd.DataFrame:
    """Tabulate what the paper prints about its readers, and what follows for their mean.

    The mean reader's other measures follow from the mean of the three accuracies and the mean
    sensitivity; they are rounded as these are.

    Returns
    -------
    DataFrame
        rater, evidence (published or recomputed), measure, estimate, low, high.

    Examples
    --------
    >>> table = published_measures().set_index(["rater", "measure"])["estimate"]
    >>> round(float(table["mean radiologist", "specificity"]), 2)
    0.85
    """
    rows = []
    for number, claim_id in enumerate(("P1-37a", "P1-37b", "P1-37c"), start=1):
        claim = claims.get(claim_id)
        printed = ("published", "accuracy", claim.value, claim.low, claim.high)
        rows.append((f"radiologist {number}", *printed))
    mean, claim = "mean radiologist", claims.get("P1-39")
    for measure, value in accuracy.measures(_mean_reader_counts()).items():
        if measure != "sensitivity":
            rows.append((mean, "recomputed", measure, float(value), np.nan, np.nan))
    rows.append((mean, "published", "sensitivity", claim.value, claim.low, claim.high))
    columns = ["rater", "evidence", "measure", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def beside_published(
    published: pd.DataFrame, measured: pd.DataFrame, *, evidence: str
) -> pd.DataFrame:
    """Stack what was published and what was measured here, each row with its evidence.

    Parameters
    ----------
    published : DataFrame
        The network's measures from the published counts (:func:`helpers.inference.from_counts`).
    measured : DataFrame
        rater and measures of this cohort (:func:`helpers.inference.by_rater`).
    evidence : str
        Evidence label of this cohort.

    Returns
    -------
    DataFrame
        rater, evidence, measure, estimate, low, high; published rows first.
    """
    columns = ["rater", "evidence", "measure", "estimate", "low", "high"]
    parts = [
        published.assign(rater="ResNet50, paper", evidence="recomputed"),
        published_measures(),
        measured.assign(evidence=evidence),
    ]
    return pd.concat([part[columns] for part in parts], ignore_index=True)


def operating_points(compared: pd.DataFrame, *, curve_of: str = "ResNet50") -> pd.DataFrame:
    """Return sensitivity and specificity of each rater that has both, for a ROC plot.

    Parameters
    ----------
    compared : DataFrame
        As :func:`beside_published` returns it.
    curve_of : str
        The rater whose curve is drawn; it needs no point.

    Returns
    -------
    DataFrame
        name, evidence, sensitivity, specificity, mean (whether it averages readers); the last
        row averages this cohort's readers.
    """
    wide = compared.pivot(index="rater", columns="measure", values="estimate")
    points = wide[["sensitivity", "specificity"]].dropna().drop(index=curve_of, errors="ignore")
    evidence = compared[compared["measure"] == "specificity"].set_index("rater")["evidence"]
    points = points.assign(evidence=evidence, mean=points.index.str.startswith("mean"))
    here = points[points["evidence"] != "recomputed"]
    average = here[["sensitivity", "specificity"]].mean()
    points.loc["mean of these readers"] = [*average, compared["evidence"].iloc[-1], True]
    return points.rename_axis("name").rename_axis(columns=None).reset_index()


def agreement_table(kappa: Interval, *, readers: str) -> pd.DataFrame:
    """Put a kappa measured here below the published one.

    Parameters
    ----------
    kappa : Interval
        From :func:`kappa_by_case`.
    readers : str
        Who the readers here are, with their evidence.

    Returns
    -------
    DataFrame
        Readers, Fleiss' kappa, 95 % interval, agreement.

    Examples
    --------
    >>> table = agreement_table(Interval(0.5, 0.4, 0.6, ""), readers="ours")
    >>> table.iloc[1].tolist()
    ['ours', '0.500', '0.40 to 0.60', 'moderate']
    """
    span = "undefined" if np.isnan(kappa.low) else f"{kappa.low:.2f} to {kappa.high:.2f}"
    found = (("three radiologists, published", PUBLISHED_KAPPA, "not printed"),)
    rows = [*found, (readers, kappa.estimate, span)]
    shown = [(who, f"{value:.3f}", text, kappa_word(value)) for who, value, text in rows]
    return pd.DataFrame(shown, columns=["Readers", "Fleiss' kappa", "95 % interval", "Agreement"])


def expected_kappa(model: ReaderModel, *, prevalence: float) -> float:
    r"""Fleiss' kappa of a reader model on infinitely many images.

    Given the diagnosis, readers r and s both call an image positive with probability
    :math:`\Phi_2(\Phi^{-1}(q_r), \Phi^{-1}(q_s); \rho)`, the bivariate normal distribution with
    the model's correlation; q is the sensitivity or one minus the specificity. It is integrated
    over the shared difficulty by Gauss-Hermite quadrature.

    Parameters
    ----------
    model : ReaderModel
        The readers.
    prevalence : float
        Share of positive images.

    Returns
    -------
    float

    Examples
    --------
    Readers who err independently would agree much less than the published 0.628:

    >>> independent = ReaderModel((0.79,) * 3, (0.8054, 0.8671, 0.8671), correlation=0.0)
    >>> round(expected_kappa(independent, prevalence=228 / 648), 2)
    0.39
    """
    nodes, mass = np.polynomial.hermite_e.hermegauss(101)
    mass = mass / mass.sum()
    agree = rate = 0.0
    rates = (np.array(model.sensitivity), 1 - np.array(model.specificity))
    for share, calls in zip((prevalence, 1 - prevalence), rates, strict=True):
        given = _call_probability(calls, nodes[:, None], model.correlation)
        agree += share * mass @ _pairs_agreeing(given)
        rate += share * (mass @ given).mean()
    chance = rate**2 + (1 - rate) ** 2
    return float((agree - chance) / (1 - chance))


def simulate(
    image_ids: ArrayLike,
    label: ArrayLike,
    *,
    seed: int | np.random.Generator,
    model: ReaderModel | None = None,
    case: ArrayLike | None = None,
) -> pd.DataFrame:
    r"""Simulate each reader's call of each image.

    Reader r calls image i of person k positive when
    :math:`\Phi^{-1}(q_r)+\sqrt{\rho}\,D_i+\sqrt{1-\rho}\,E_{ri}>0`, with q the sensitivity for
    a positive and one minus the specificity for a control. The difficulty D, the same for all
    readers, and a reader's own impression E are standard normal; each is
    :math:`\sqrt{c}` times a person's part plus :math:`\sqrt{1-c}` times an image's part, c being
    the model's ``within_case``.

    Parameters
    ----------
    image_ids : array-like of str, shape (n,)
        The images.
    label : array-like of 0 and 1, shape (n,)
        Their reference diagnosis; a simulated reader sees nothing else of an image.
    seed : int or Generator
        Source of randomness.
    model : ReaderModel, optional
        :func:`published_model` when not given.
    case : array-like, shape (n,), optional
        The person each image belongs to; every image is a person's only one when not given.

    Returns
    -------
    DataFrame
        reader_id (``simulated reader 1`` ...), image_id, call.

    Raises
    ------
    ValueError
        On unequal lengths.

    Examples
    --------
    >>> simulate(["x", "y"], [1, 0], seed=1)["reader_id"].unique().tolist()
    ['simulated reader 1', 'simulated reader 2', 'simulated reader 3']
    """
    model = model or published_model()
    rng = np.random.default_rng(seed)
    image_ids, label = np.asarray(image_ids), np.asarray(label)
    codes = np.arange(label.size) if case is None else pd.factorize(np.asarray(case))[0]
    if not image_ids.shape == label.shape == codes.shape:
        sizes = f"{image_ids.size} images, {label.size} labels and {codes.size} case ids"
        raise ValueError(f"{sizes}; expected as many of each.")
    readers = len(model.sensitivity)
    shared = _nested_normal(rng, codes, 1, model.within_case)
    own = _nested_normal(rng, codes, readers, model.within_case)
    positive, control = np.array(model.sensitivity), 1 - np.array(model.specificity)
    rates = np.where(label[:, None] == 1, positive, control)
    latent = np.sqrt(model.correlation) * shared + np.sqrt(1 - model.correlation) * own
    calls = (stats.norm.ppf(rates) + latent > 0).astype(int)
    names = [f"{SIMULATED} {number}" for number in range(1, readers + 1)]
    wide = pd.DataFrame(calls, columns=names).assign(image_id=image_ids)
    return wide.melt("image_id", var_name="reader_id", value_name="call")[list(SCHEMA.columns)]


def are_simulated(names: Iterable[str]) -> bool:
    """Say whether any of these readers is simulated.

    Parameters
    ----------
    names : iterable of str
        Values of reader_id.

    Returns
    -------
    bool

    Examples
    --------
    >>> are_simulated(["simulated reader 1"]), are_simulated(["A", "B"])
    (True, False)
    """
    return any(str(name).startswith(SIMULATED) for name in names)


def consensus(calls: ArrayLike, *, votes: int | None = None) -> NDArray[np.int64]:
    """Call an image positive when enough raters do.

    Parameters
    ----------
    calls : array-like of 0 and 1, shape (images, raters)
        Every rater has called every image.
    votes : int, optional
        Positive calls needed; more than half of the raters when not given.

    Returns
    -------
    ndarray of int, shape (images,)

    Raises
    ------
    ValueError
        On a missing call, or more votes than raters.

    Examples
    --------
    >>> consensus([[1, 1, 0], [0, 0, 1]]).tolist()
    [1, 0]
    >>> consensus([[1, 1, 0, 0], [0, 0, 1, 0]], votes=2).tolist()
    [1, 0]
    """
    calls = _call_matrix(calls)
    needed = calls.shape[1] // 2 + 1 if votes is None else votes
    if not 1 <= needed <= calls.shape[1]:
        raise ValueError(f"{needed} votes of {calls.shape[1]} raters; expected 1 to all of them.")
    return (calls.sum(axis=1) >= needed).astype(np.int64)


def best(calls: pd.DataFrame, names: Iterable[str]) -> str:
    """Name the reader who is right most often, the first of equals.

    Chosen on the images that it is then shown for, so that its accuracy flatters: with more
    readers the best of them looks better by chance alone.

    Parameters
    ----------
    calls : DataFrame
        One row an image: label and a column of calls for each reader.
    names : iterable of str
        Those columns.

    Returns
    -------
    str

    Examples
    --------
    >>> best(pd.DataFrame({"label": [1, 0], "A": [1, 1], "B": [1, 0]}), ["A", "B"])
    'B'
    """
    names = list(names)
    right = [(calls[name] == calls["label"]).sum() for name in names]
    return names[int(np.argmax(right))]


def assisted(
    call: ArrayLike, probability: ArrayLike, *, low: float, high: float
) -> NDArray[np.int64]:
    """Return what a reader would say who yields to a model that is sure: a what-if.

    The reader keeps the own call unless the model's probability is at most ``low`` (then 0) or
    at least ``high`` (then 1). Real readers yield in other ways, and change when they know that
    a model looks on; nothing here estimates that.

    Parameters
    ----------
    call : array-like of 0 and 1, shape (n,)
        The reader's own calls.
    probability : array-like of float, shape (n,)
        The model's.
    low, high : float
        Where the model counts as sure, ``low < high``.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    ValueError
        On unequal lengths, a missing probability or ``low`` not below ``high``.

    Examples
    --------
    >>> assisted([0, 1, 1], [0.99, 0.5, 0.01], low=0.05, high=0.95).tolist()
    [1, 1, 0]
    """
    call, probability = np.asarray(call), np.asarray(probability, dtype=float)
    if call.shape != probability.shape:
        raise ValueError(f"{call.size} calls but {probability.size} probabilities; expected one.")
    if not np.isfinite(probability).all():
        raise ValueError(f"{(~np.isfinite(probability)).sum()} probabilities are missing.")
    if not low < high:
        raise ValueError(f"low = {low} is not below high = {high}.")
    return np.where(probability >= high, 1, np.where(probability <= low, 0, call)).astype(np.int64)


def team(
    calls: pd.DataFrame, names: Iterable[str], *, model: str, low: float = 0.05, high: float = 0.95
) -> pd.DataFrame:
    """Add what readers would say together, with the model as one more, and with its help.

    Parameters
    ----------
    calls : DataFrame
        One row an image: label, probability (the model's) and a column of calls a rater.
    names : iterable of str
        The readers' columns.
    model : str
        The model's column.
    low, high : float
        As in :func:`assisted`.

    Returns
    -------
    DataFrame
        ``calls`` with the columns ``majority of readers``, ``readers and MODEL, k of n votes``
        for the two counts about the half, and ``READER, assisted``.

    Examples
    --------
    >>> calls = pd.DataFrame(
    ...     {"label": [1], "probability": [0.99], "A": [0], "B": [1], "C": [0], "M": [1]}
    ... )
    >>> team(calls, ["A", "B", "C"], model="M").iloc[0, 6:].tolist()
    [0, 1, 0, 1, 1, 1]
    """
    names = list(names)
    found = calls.assign(**{"majority of readers": consensus(calls[names])})
    raters = [*names, model]
    half = len(raters) / 2
    for votes in sorted({int(np.ceil(half)), int(half) + 1}):
        column = f"readers and {model}, {votes} of {len(raters)} votes"
        found[column] = consensus(calls[raters], votes=votes)
    for name in names:
        helped = assisted(calls[name], calls["probability"], low=low, high=high)
        found[f"{name}, assisted"] = helped
    return found


def against_model(
    calls: pd.DataFrame, names: Iterable[str], *, model: str, level: float = 0.95
) -> pd.DataFrame:
    """Compare a model with each reader and with their mean, tests only for real readers.

    Each reader: Obuchowski's test of paired calls with the person as the unit. Their mean:
    Obuchowski and Rockette's analysis, readers and cases being samples. A simulated reader's
    skill is imposed by an assumption, so a p-value or interval would test that assumption; both
    are then NaN, and the reason says so.

    Parameters
    ----------
    calls : DataFrame
        One row an image: label, case_id and a column of 0/1 calls a rater.
    names : iterable of str
        The readers' columns.
    model : str
        The model's column.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        rater, measure, difference (model less reader), low, high, p, method, reason.

    References
    ----------
    See :func:`helpers.paired.clustered_mcnemar`, :func:`helpers.multireader.model_against_readers`.

    Examples
    --------
    >>> calls = pd.DataFrame(
    ...     {"label": [1, 1, 0], "case_id": list("abc"), "M": [1, 1, 0], "simulated reader 1": 0}
    ... )
    >>> found = against_model(calls, ["simulated reader 1"], model="M").iloc[0]
    >>> float(found["difference"]), found["reason"]
    (1.0, 'simulated reader: the skill is imposed, so no test')
    """
    names = list(names)
    rows = []
    for measure in ("sensitivity", "specificity", "accuracy"):
        of = {"sensitivity": calls["label"] == 1, "specificity": calls["label"] == 0}
        chosen = calls[of.get(measure, calls["label"] >= 0)]
        right = chosen[[model, *names]].eq(chosen["label"], axis=0).astype(int)
        for name in names:
            pair = (right[model], right[name], chosen["case_id"])
            tested = paired.clustered_mcnemar(*pair)
            gap = paired.difference(*pair, level=level)
            rows.append((name, measure, *gap[:3], tested.p, tested.method, tested.reason))
        if len(names) > 1:
            found = multireader.model_against_readers(
                calls["label"], calls[model], calls[names], calls["case_id"],
                figure=measure, level=level,
            )  # fmt: skip
            mean = (found.estimate, found.low, found.high, found.p, found.method, found.reason)
            rows.append(("mean of readers", measure, *mean))
    columns = ["rater", "measure", "difference", "low", "high", "p", "method", "reason"]
    table = pd.DataFrame(rows, columns=columns)
    if are_simulated(names):
        table[["low", "high", "p"]] = np.nan
        table["reason"] = f"{SIMULATED}: the skill is imposed, so no test"
    return table


def _nested_normal(
    rng: np.random.Generator, codes: NDArray, columns: int, within: float
) -> NDArray[np.float64]:
    cases = int(codes.max()) + 1 if codes.size else 0
    of_case = rng.standard_normal((cases, columns))[codes]
    of_image = rng.standard_normal((codes.size, columns))
    return np.sqrt(within) * of_case + np.sqrt(1 - within) * of_image


def _with_correlation(correlation: float) -> ReaderModel:
    sensitivity = (PUBLISHED_SENSITIVITY,) * len(PUBLISHED_ACCURACY)
    specificity = tuple(derived_specificity(value) for value in PUBLISHED_ACCURACY)
    return ReaderModel(sensitivity, specificity, correlation)


def _mean_reader_counts() -> Counts:
    specificity = derived_specificity(float(np.mean(PUBLISHED_ACCURACY)))
    tp, tn = PUBLISHED_SENSITIVITY * PUBLISHED_POSITIVES, specificity * PUBLISHED_CONTROLS
    return Counts(tp=tp, fn=PUBLISHED_POSITIVES - tp, fp=PUBLISHED_CONTROLS - tn, tn=tn)


def _call_probability(rates: NDArray, difficulty: NDArray, correlation: float) -> NDArray:
    shift = stats.norm.ppf(rates) + np.sqrt(correlation) * difficulty
    return stats.norm.cdf(shift / np.sqrt(1 - correlation))


def _pairs_agreeing(chance: NDArray) -> NDArray:
    readers = chance.shape[1]
    both = chance.sum(axis=1) ** 2 - (chance**2).sum(axis=1)
    neither = (1 - chance).sum(axis=1) ** 2 - ((1 - chance) ** 2).sum(axis=1)
    return (both + neither) / (readers * (readers - 1))


def _call_matrix(calls: ArrayLike) -> NDArray[np.int64]:
    calls = np.asarray(calls)
    if calls.ndim != 2 or calls.shape[1] < 2:
        raise ValueError(f"Calls have shape {calls.shape}; expected images × two or more readers.")
    if not np.isin(calls, (0, 1)).all():
        raise ValueError("Calls must be 0 or 1, and no call may be missing; see readers.checked.")
    return calls.astype(np.int64)


def _schema_problems(reads: pd.DataFrame) -> list[str]:
    missing = [name for name in SCHEMA.columns if name not in reads.columns]
    if missing:
        found = ", ".join(map(str, reads.columns))
        return [f"column {name} is missing; columns found: {found}" for name in missing]
    try:
        SCHEMA.validate(reads, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return [_failure(name, rows) for name, rows in error.failure_cases.groupby("column")]
    return ["it has no rows"] if reads.empty else []


def _failure(column: str, rows: pd.DataFrame) -> str:
    number = rows["index"].nunique()
    hold = "rows hold" if number > 1 else "row holds"
    found = sorted({"nothing" if pd.isna(value) else value for value in rows["failure_case"]})
    expected = "0 or 1" if column == "call" else "a name"
    return f"{column}: {number} {hold} {', '.join(found)}; expected {expected}"


def _matching_problems(reads: pd.DataFrame, image_ids: list[str]) -> list[str]:
    problems = []
    unknown = sorted(set(reads["image_id"].dropna()) - set(image_ids))
    if unknown:
        problems.append(
            f"{_images(len(unknown))} unknown to this cohort's test split, e.g. {unknown[0]}"
        )
    for reader, own in reads.groupby("reader_id"):
        twice = sorted(own.loc[own["image_id"].duplicated(), "image_id"].dropna().unique())
        if twice:
            problems.append(f"reader {reader}: {_images(len(twice))} called twice, e.g. {twice[0]}")
        absent = sorted(set(image_ids) - set(own["image_id"]))
        if absent:
            of = f"{len(absent)} of {len(image_ids)} images"
            problems.append(f"reader {reader}: {of} not called, e.g. {absent[0]}")
    return problems


def _images(number: int) -> str:
    return f"{number} image{'s'[: number > 1]}"
