"""The computed trefoil sign, and what is told without texture."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers import cohort, trefoil, without_texture
from helpers.phantom import fat, thigh


def legs(**fractions):
    rows = [
        {"case_id": "a", "side": side, "muscle": muscle, "fat_fraction": fractions.get(muscle, 0.4)}
        for side in ("right", "left")
        for muscle in fat.MUSCLES
    ]
    return pd.DataFrame(rows)


TYPICAL = {"SA": 0.1, "GR": 0.05, "AL": 0.1, "ST": 0.2}


def test_the_rule_needs_each_of_its_three_parts():
    assert trefoil.sign(legs(**TYPICAL)).sign.all()
    assert not trefoil.sign(legs(**TYPICAL | {"GR": 0.5})).sign.any()
    assert not trefoil.sign(legs(**TYPICAL | {"ST": 0.35})).sign.any()
    mild = dict.fromkeys(trefoil.AROUND, 0.2)
    assert not trefoil.sign(legs(**TYPICAL | {"ST": 0.02} | mild)).sign.any()
    # A muscle outside the rule changes nothing.
    assert trefoil.sign(legs(**TYPICAL | {"RF": 0.9, "SM": 0.9, "BFS": 0.0})).sign.all()


def test_a_person_is_judged_on_the_mean_of_both_legs():
    one = legs(**TYPICAL)
    one.loc[(one.side == "left") & (one.muscle == "ST"), "fat_fraction"] = 0.4
    assert trefoil.sign(one).set_index("side").sign.to_dict() == {"left": False, "right": True}
    assert not trefoil.of_cases(one).sign.any()


def test_a_missing_muscle_is_named():
    with pytest.raises(ValueError, match="No fat fraction of ST"):
        trefoil.sign(legs().query("muscle != 'ST'"))


def test_sensitivity_specificity_and_shares_by_disease(tmp_path):
    people = pd.DataFrame(
        {
            "case_id": ["a", "b", "c", "d"],
            "diagnosis": ["DMD", "BMD", "LGMD2I", "LGMD2I"],
            "dystrophinopathy": [1, 1, 0, 0],
        }
    )
    shown = [legs(**TYPICAL).assign(case_id=name) for name in ("a", "c")]
    hidden = [legs().assign(case_id=name) for name in ("b", "d")]
    pd.concat(shown + hidden).to_csv(tmp_path / "fat.csv", index=False)
    table = trefoil.table(people, tmp_path / "fat.csv")
    here = trefoil.here(table)
    assert (here["sensitivity"]["count"], here["sensitivity"].people) == (1, 2)
    assert (here["specificity"]["count"], here["specificity"].people) == (1, 2)
    by_disease = table.set_index("what")["count"]
    assert by_disease[["sign in DMD", "sign in BMD", "sign in LGMD2I"]].tolist() == [1, 0, 1]
    assert trefoil.readable(table).shape == (7, 4)


def test_without_truth_only_the_published_rows_stay(tmp_path):
    table = trefoil.table(pd.DataFrame(), tmp_path / "none.csv")
    assert len(table) == 2 and np.isnan(trefoil.here(table)["sensitivity"].share)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    cases, _ = thigh.draw_cohort(seed=4, case_fraction=0.05, image_fraction=0.02)
    path = tmp_path_factory.mktemp("cohort") / "cohort.json"
    path.write_text(json.dumps({"synthetic": True, "seed": 4}))
    return cases, without_texture.compare(cases, path, seed=1)


def test_means_do_not_see_texture_and_areas_are_areas(compared):
    cases, table = compared
    assert len(table) == 7 and set(table.texture) == {"full", "none", "of no matter"}
    assert (table.low <= table.auc).all() and (table.auc <= table.high).all()
    assert (table.people == (cases.split != "test").sum()).all()
    means = table[table.measures == "means of muscles"].auc
    assert np.ptp(means) < 0.1


def test_local_variation_sees_texture():
    row = cohort.published_cells().iloc[0]
    person = {"case_id": "thigh-0003", "diagnosis": row.diagnosis, "sex": "M", "age_years": 14.0}
    person |= {"disease_course_years": 9.0, "field_strength_tesla": 1.5}
    case = thigh.draw_case(person, contact=("apart",), seed=2)
    full, none = (
        without_texture.measures(thigh.draw_slice(case, 0, matrix=160, texture_strength=strength))
        for strength in (1.0, 0.0)
    )
    assert full[:12] == pytest.approx(none[:12], abs=0.05)
    assert np.nanmean(full[12:24]) > 1.3 * np.nanmean(none[12:24])
    assert full[24:].tolist() == none[24:].tolist()
    legs, muscle, bone, under_skin = full[24:]
    assert legs > muscle + bone + under_skin > 0.7 * legs


def test_without_a_phantom_there_is_nothing_to_compare(tmp_path):
    table = without_texture.compare(pd.DataFrame(), tmp_path / "none.json", seed=1)
    assert table.empty and list(table.columns) == without_texture.COLUMNS
    assert np.isnan(without_texture.together(table)["full"].auc)
    assert without_texture.readable(table).empty


def test_too_few_people_give_no_area():
    few = pd.DataFrame({"case_id": list("abc"), "dystrophinopathy": [0, 0, 1]})
    area = without_texture._area(np.ones((3, 2)), few, seed=0)
    assert np.isnan(area["auc"]) and area["method"] == "too few people"
