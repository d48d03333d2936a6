"""Convergence: separability with proof, the path of SGD as Keras walks it, the optimum."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from helpers import convergence, layers, training
from helpers.display import training as display_training
from helpers.networks import keras

RATE = {"learning_rate": 0.05, "batch_size": 8}


@pytest.fixture
def cohort():
    """Return 40 + 24 + 16 rows of 6 features of which the first carries the label."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 0], 40)
    features = rng.normal(size=(80, 6)) * [1, 2, 0.5, 1, 1, 1] + [3, 0, 0, 0, 0, 1]
    features[:, 0] += 1.5 * label
    split = np.repeat(["training", "validation", "test"], [40, 24, 16])
    ids = [f"i{k}" for k in range(80)]
    table = pd.DataFrame({"image_id": ids, "case_id": ids, "label": label, "split": split})
    return features, table


def walked(cohort, *, epochs=30, penalties=(0.2, 0.1), momenta=(0.0, 0.9), seed=4):
    empty = pd.DataFrame()
    optima = {
        scaling: convergence.Optimum(scaling, penalty, 0.0, empty)
        for scaling, penalty in zip(convergence.SCALINGS, penalties, strict=True)
    }
    return convergence.paths(
        *cohort,
        optima,
        momenta=momenta,
        epochs=epochs,
        seed=seed,
        **RATE,
    )


def one(path, scaling, momentum, penalised, name="training"):
    chosen = path[
        (path["scaling"] == scaling)
        & (path["momentum"] == momentum)
        & (path["penalised"] == penalised)
        & (path["set"] == name)
    ]
    return chosen.set_index("epoch")


def test_more_directions_than_images_can_always_be_separated():
    rng = np.random.default_rng(1)
    proven, dimensions, misfit = convergence.separable(
        rng.normal(size=(30, 50)), rng.integers(0, 2, 30)
    )
    assert (proven, dimensions, misfit) == (True, 29, 0.0)


def test_a_crossed_table_cannot_be_separated():
    corners = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], dtype=float)
    proven, dimensions, misfit = convergence.separable(corners, np.array([1, 1, 0, 0]))
    assert not proven and dimensions == 2 and misfit > 0.5


def test_separability_does_not_hang_on_the_scale_of_a_feature(cohort):
    features, table = cohort
    features = features * [1e-5, 1, 1, 1, 1, 1e5]
    found = convergence.separability({"VGG19": features}, table)
    assert found["scaling"].tolist() == list(convergence.SCALINGS)
    assert found["separable"].nunique() == 1
    apart = features + 1e3 * table["label"].to_numpy()[:, None]
    assert convergence.separability({"VGG19": apart}, table)["separable"].all()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("standardise", [True, False])
def test_the_plain_path_is_that_of_the_training(cohort, momentum, standardise):
    path = walked(cohort)
    heads = training.train(
        *cohort,
        seeds=[4],
        momentum=momentum,
        epochs_max=30,
        patience=30,
        standardise=standardise,
        **RATE,
    )
    scaling = convergence.SCALINGS[int(standardise)]
    expected = heads.path.set_index("epoch")
    for name in ("training", "validation"):
        found = one(path, scaling, momentum, False, name)["loss"]
        assert np.allclose(found, expected.loc[found.index, f"{name}_loss"], atol=1e-10)


def test_the_penalised_path_is_that_of_keras(cohort):
    features, table = cohort
    path = one(walked(cohort, epochs=12), "as they come", 0.9, True)
    train = (table["split"] == "training").to_numpy()
    x, y = features[train], table["label"].to_numpy(dtype=float)[train]
    generator = np.random.default_rng(4)
    limit = np.sqrt(6 / 7)
    kernel = generator.uniform(-limit, limit, 6)
    penalty = keras.regularizers.L2(0.2 / 2)
    dense = keras.layers.Dense(1, "sigmoid", kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((6,)), dense])
    dense.set_weights([kernel[:, None], np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "binary_crossentropy")
    for epoch in range(1, 13):
        order = generator.permutation(40)
        model.fit(x[order], y[order], batch_size=8, shuffle=False, verbose=0)
        expected = model.evaluate(x, y, batch_size=40, verbose=0)
        assert np.isclose(path["penalised_loss"][epoch], expected, atol=1e-4)


def test_the_optimum_is_that_of_scikit_learn_on_all_features(cohort):
    features, table = cohort
    found = convergence.optimum(features, table, scaling="as they come")
    train = (table["split"] == "training").to_numpy()
    x, y = features[train], table["label"].to_numpy()[train]
    model = LogisticRegression(C=1 / (40 * found.penalty), tol=1e-12, max_iter=10_000).fit(x, y)
    measures = found.measures.set_index("set")
    logits = model.decision_function(features)
    for name in training.SPLITS:
        own = (table["split"] == name).to_numpy()
        loss = layers.loss(logits[own], table["label"].to_numpy()[own])
        assert np.isclose(measures["loss"][name], loss, atol=1e-6)
    total = measures["loss"]["training"] + found.penalty / 2 * (model.coef_**2).sum()
    assert np.isclose(found.penalised_loss, total, atol=1e-6)


def test_the_penalised_path_arrives_at_the_optimum_and_the_plain_one_passes(cohort):
    optima = convergence.optima(*cohort)
    penalties = [optima[s].penalty for s in convergence.SCALINGS]
    path = walked(cohort, epochs=3000, penalties=penalties)
    found = convergence.milestones(path, optima).set_index(["scaling", "momentum", "penalised"])
    arrived = found.xs(True, level="penalised")
    assert arrived["near_epoch"].notna().all()
    for scaling in convergence.SCALINGS:
        end = one(path, scaling, 0.0, True)["penalised_loss"].iloc[-1]
        assert optima[scaling].penalised_loss <= end <= 1.03 * optima[scaling].penalised_loss
    slow, fast = (arrived["near_epoch"]["standardised", m] for m in (0.0, 0.9))
    assert fast < slow, "momentum shortens the way"


def test_what_was_not_reached_is_not_a_number(cohort):
    optima = convergence.optima(*cohort)
    found = convergence.milestones(walked(cohort, epochs=2), optima)
    assert found["near_epoch"].isna().all() and (found["last_epoch"] == 2).all()
    assert found["best_epoch"].isna().any()


def test_areas_along_the_path_are_those_of_the_book(cohort):
    from helpers import accuracy

    path = walked(cohort, epochs=5)
    heads = training.train(
        *cohort, seeds=[4], momentum=0.0, epochs_max=5, patience=9, standardise=True, **RATE
    )
    _, table = cohort
    test = (table["split"] == "test").to_numpy()
    epoch = heads.stopping["best_epoch"].item()
    scores = training.probabilities(heads, cohort[0])[0, test]
    found = one(path, "standardised", 0.0, False, "test").loc[epoch]
    assert np.isclose(found["auc"], accuracy.auc(table["label"][test], scores))
    assert np.isclose(found["accuracy"], ((scores >= 0.5) == table["label"][test]).mean())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_what_the_stopping_rule_kept_lies_on_the_path(cohort, momentum):
    heads = training.train(
        *cohort, seeds=[4], momentum=momentum, epochs_max=40, patience=5, standardise=True, **RATE
    )
    kept = convergence.kept(heads, *cohort, standardise=True).set_index("set")
    path = walked(cohort, epochs=40)
    for name in training.SPLITS:
        expected = one(path, "standardised", momentum, False, name).loc[kept["epoch"][name]]
        for measure in ("loss", "auc", "accuracy"):
            assert kept.loc[name, measure] == pytest.approx(expected[measure], abs=1e-9)
    stopping = heads.stopping.iloc[0]
    assert kept["epoch"].eq(stopping["best_epoch"]).all()
    assert kept["last_epoch"].eq(stopping["epochs_run"]).all()


def test_the_figure_marks_what_was_kept_in_the_column_of_its_scaling(cohort):
    optima = convergence.optima(*cohort)
    reached, shown = convergence.summarised(walked(cohort), optima)
    heads = training.train(
        *cohort, seeds=[4], momentum=0.0, epochs_max=40, patience=5, standardise=True, **RATE
    )
    kept = convergence.kept(heads, *cohort, standardise=True)
    figure = display_training.long_path(shown, reached, optima, kept)
    for number, axis in enumerate(figure.axes):
        drawn = {
            (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in axis.lines
            if line.get_marker() == "D"
        }
        measure = ("loss", "auc", "accuracy")[number // 2]
        rows = set(zip(kept["epoch"].astype(float), kept[measure], strict=True))
        assert drawn == (rows if number % 2 else set())
        lines = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) > 2]
        assert len(lines) == 6 and max(line[0] for line in lines) <= kept["epoch"].min()


def test_a_head_with_hidden_layers_marks_nothing_on_the_path_of_one_layer(cohort):
    heads = training.train(
        *cohort,
        seeds=[4],
        epochs_max=3,
        patience=3,
        hidden_units=[4],
        momentum=0.0,
        standardise=True,
        **RATE,
    )
    kept = convergence.kept(heads, *cohort, standardise=True)
    assert kept.empty and {"epoch", "last_epoch", "scaling"} <= set(kept)
    optima = convergence.optima(*cohort)
    reached, shown = convergence.summarised(walked(cohort), optima)
    figure = display_training.long_path(shown, reached, optima, kept)
    assert not [line for axis in figure.axes for line in axis.lines if line.get_marker() == "D"]


def test_a_figure_shows_fewer_epochs_and_the_last():
    path = pd.DataFrame({"epoch": np.repeat(convergence.looked_at(5000), 2), "loss": 0.0})
    reached = pd.DataFrame({"best_epoch": [np.nan, 4321.0, 97.0]})
    reached.loc[1, "best_epoch"] = path["epoch"].iloc[-5]
    shown = convergence.thinned(path, reached, per_decade=10)
    assert set(reached["best_epoch"].dropna()) <= set(shown["epoch"])
    assert shown["epoch"].max() == 5000 and shown["epoch"].min() == 1
    assert 25 <= shown["epoch"].nunique() <= 40


def test_tables_say_what_was_not_reached(cohort):
    optima = convergence.optima(*cohort)
    found = convergence.milestones(walked(cohort, epochs=2), optima)
    shown = convergence.readable_milestones(found)
    column = "Epochs to within 1 % of the penalised optimum"
    assert set(shown[column]) == {"more than 2, not reached"}
    text = convergence.readable_separability(convergence.separability({"V": cohort[0]}, cohort[1]))
    assert text["A plane separates them"].str.match("yes|no, misfit 0").all()
