"""What brains give away without a network: the yardsticks beside the 3-D network."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import brain


def pca_logistic(
    subjects: pd.DataFrame, volumes: np.ndarray, *, components: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Return predictions of a logistic regression on the brains' main components.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`; the training set is learned from.
    volumes : ndarray, shape (subjects, x, y, z, 1)
        Rows as in ``subjects``.
    components : int
        Components kept; fewer when the training set is smaller.
    seed : int
        Of the randomised decomposition.

    Returns
    -------
    DataFrame
        As :func:`helpers.brain.predictions`.
    """
    voxels = volumes.reshape(len(volumes), -1)
    count = min(components, int((subjects["split"] == "training").sum()) - 1)
    model = make_pipeline(
        PCA(count, svd_solver="randomized", random_state=seed),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    return _learned(model, voxels, subjects, "PCA + logistic regression", seed)


def own_region_means(
    subjects: pd.DataFrame, truth: str | Path, *, column: str, seed: int = 0
) -> pd.DataFrame:
    """Return what six numbers per brain allow that only the phantom's maker knows.

    A linear discriminant, learned from the training brains, on the true weighted mean of each
    subject's own six regions: a yardstick beside the network, neither an upper bound of what the
    scan holds nor a method anyone could use.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    truth : str or Path
        The phantom's ``truth/region_means.csv``.
    column : {"file", "file_exaggerated"}
        Which series of images.
    seed : int
        Written beside the predictions.

    Returns
    -------
    DataFrame
        As :func:`helpers.brain.predictions`.
    """
    means = pd.read_csv(truth).pivot(index="subject_id", columns="region", values=column)
    features = means.loc[subjects["subject_id"]].to_numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return _learned(model, features, subjects, "true region means (yardstick)", seed)


def yardsticks(subjects: pd.DataFrame, folder: str | Path, *, seed: int = 0) -> list[pd.DataFrame]:
    """Return :func:`own_region_means` of each series; nothing for own scans.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    folder : str or Path
        ``results/<profile>``.
    seed : int
        Written beside the predictions.

    Returns
    -------
    list of DataFrame
        With the column ``effect``.
    """
    truth = Path(folder) / "cohort" / "brain" / "truth" / "region_means.csv"
    if not brain.description(folder)["synthetic"]:
        return []
    return [
        own_region_means(subjects, truth, column=column, seed=seed).assign(effect=effect)
        for effect, column in brain.series(subjects).items()
    ]


def _learned(model, features, subjects: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    training = (subjects["split"] == "training").to_numpy()
    model.fit(features[training], subjects.loc[training, "patient"])
    probability = model.predict_proba(features)[:, 1]
    return brain.predictions(subjects, probability, model=name, weights="", seed=seed)
